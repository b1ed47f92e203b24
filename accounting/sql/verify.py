"""The ledger's invariants, recomputed from its entries and holds: what `vlmfleet ledger verify` shows. Numbers as in
`docs/money.md`.
"""

import json
from collections import Counter
from collections.abc import Iterator

from accounting.sql.database import Database
from accounting.sql.restore import RESTORE
from accounting.store import Fault
from accounting.usage import Width


def faults(db: Database) -> list[Fault]:
    """Everything that is wrong; empty if nothing is."""
    return [
        fault
        for check in (
            _transactions,
            _posted,
            _reserved,
            _limits,
            _charges,
            _holds,
            _attempts,
            _rollups,
            _totals,
            _refunds,
        )
        for fault in check(db)
    ]


def _transactions(db: Database) -> Iterator[Fault]:
    """P1: the entries of a transaction sum to zero."""
    for kind, ref, amount in db.all(
        "SELECT kind, ref, sum(amount_nano) FROM entry GROUP BY kind, ref HAVING sum(amount_nano) <> 0"
    ):
        yield Fault("P1 zero sum", f"{kind} {ref} sums to {amount}")


def _posted(db: Database) -> Iterator[Fault]:
    """P2: an account's `posted` is the sum of its entries."""
    for account, posted, booked in db.all(
        "SELECT id, posted_nano, coalesce(booked, 0) FROM account LEFT JOIN"
        " (SELECT account_id, sum(amount_nano) AS booked FROM entry GROUP BY account_id) AS sums ON account_id = id"
        " WHERE posted_nano <> coalesce(booked, 0) ORDER BY id"
    ):
        yield Fault("P2 posted", f"{account} has {posted}, its entries sum to {booked}")


def _reserved(db: Database) -> Iterator[Fault]:
    """P2: an account's `reserved` is the sum of its open holds."""
    held: Counter[str] = Counter()
    for parts, amount_nano in db.all("SELECT parts, amount_nano FROM hold WHERE state = 'open'"):
        for account in json.loads(parts):
            held[account] += amount_nano
    for account, reserved in db.all("SELECT id, reserved_nano FROM account ORDER BY id"):
        if reserved != held[account]:
            yield Fault("P2 reserved", f"{account} has {reserved}, its open holds sum to {held[account]}")


def _limits(db: Database) -> Iterator[Fault]:
    """P3: no account is above its limit."""
    for account, limit in db.all(
        "SELECT id, limit_nano FROM account WHERE posted_nano + reserved_nano > limit_nano ORDER BY id"
    ):
        yield Fault("P3 limit", f"{account} is above its limit of {limit}")


def _charges(db: Database) -> Iterator[Fault]:
    """P4: a posted hold has entries of just its charge, any other hold has none, and there are no others."""
    for request_id, excess in db.all(
        "SELECT ref, sum(amount_nano) FROM ("
        "SELECT ref, -amount_nano AS amount_nano FROM entry WHERE kind = 'charge' AND account_id = 'revenue' AND seq > ?"
        " UNION ALL SELECT request_id, -charged_nano FROM hold WHERE state = 'posted'"
        ") AS sides GROUP BY ref HAVING sum(amount_nano) <> 0 ORDER BY ref",
        _restored(db),
    ):
        yield Fault("P4 charge", f"{request_id}: its entries are {excess} above its charge")


def _restored(db: Database) -> int:
    """The last entry that was imported: the holds of those entries were in another ledger."""
    row = db.one("SELECT content FROM audit WHERE action = ?", RESTORE)
    return int(json.loads(row[0])["last_seq"]) if row else 0


def _holds(db: Database) -> Iterator[Fault]:
    """P7: a charge is at most its hold."""
    for request_id, charged, amount in db.all(
        "SELECT request_id, charged_nano, amount_nano FROM hold WHERE charged_nano > amount_nano ORDER BY request_id"
    ):
        yield Fault("P7 hold", f"{request_id} was charged {charged} of {amount}")


def _attempts(db: Database) -> Iterator[Fault]:
    """R2: a posted hold has one attempt that was charged, any other has none."""
    for request_id, state, charged in db.all(
        "SELECT request_id, state, coalesce(charged, 0) FROM hold LEFT JOIN"
        " (SELECT request_id, sum(charged) AS charged FROM attempt GROUP BY request_id) AS sums USING (request_id)"
        " WHERE coalesce(charged, 0) <> CASE state WHEN 'posted' THEN 1 ELSE 0 END ORDER BY request_id"
    ):
        yield Fault("R2 attempts", f"{request_id} is {state} with {charged} charged attempts")


def _rollups(db: Database) -> Iterator[Fault]:
    """P10: the rollups of every width are the sums of the posted holds, caller by caller, at the time of their admission."""
    for width in Width:
        for start_ms, org_id, key_id, model, requests, revenue in db.all(
            "SELECT start_ms, org_id, key_id, model, sum(requests), sum(revenue_nano) FROM ("
            "SELECT start_ms, org_id, project_id, key_id, user_id, model, tier, requests, revenue_nano, output_tokens"
            " FROM rollup WHERE width = ?"
            " UNION ALL SELECT created_at_ms - created_at_ms % ?, org_id, project_id, key_id, coalesce(user_id, ''), model, tier,"
            " -1, -charged_nano, -output_tokens FROM hold JOIN attempt USING (request_id, attempt) WHERE state = 'posted'"
            ") AS sides GROUP BY start_ms, org_id, project_id, key_id, user_id, model, tier"
            " HAVING sum(requests) <> 0 OR sum(revenue_nano) <> 0 OR sum(output_tokens) <> 0 ORDER BY start_ms, key_id, model",
            width, width.ms,
        ):  # fmt: skip
            where = f"{width} from {start_ms} of {org_id}, {key_id}, {model}"
            yield Fault("P10 rollups", f"{where}: {requests} requests and {revenue} too many")


def _totals(db: Database) -> Iterator[Fault]:
    """P10: the fleet's totals are the sums of the holds that ended."""
    for model, outcome, requests, charged in db.all(
        "SELECT model, outcome, sum(requests), sum(charged_nano) FROM ("
        "SELECT model, outcome, requests, charged_nano FROM total"
        " UNION ALL SELECT model, why, -1, -coalesce(charged_nano, 0) FROM hold WHERE state <> 'open'"
        ") AS sides GROUP BY model, outcome HAVING sum(requests) <> 0 OR sum(charged_nano) <> 0 ORDER BY model, outcome"
    ):
        yield Fault("P10 totals", f"{model} {outcome}: {requests} requests and {charged} too many")


def _refunds(db: Database) -> Iterator[Fault]:
    """P4: a refund has entries of just its amount. P7: the refunds of a request are at most its charge."""
    for ref, excess in db.all(
        "SELECT ref, sum(amount_nano) FROM ("
        "SELECT ref, amount_nano FROM entry WHERE kind = 'refund' AND account_id = 'revenue' AND seq > ?"
        " UNION ALL SELECT ref, -amount_nano FROM refund"
        ") AS sides GROUP BY ref HAVING sum(amount_nano) <> 0 ORDER BY ref",
        _restored(db),
    ):
        yield Fault("P4 refund", f"{ref}: its entries are {excess} above its amount")
    for request_id, given in db.all(
        "SELECT request_id, sum(refund.amount_nano) FROM refund JOIN hold USING (request_id)"
        " GROUP BY request_id, charged_nano HAVING sum(refund.amount_nano) > charged_nano ORDER BY request_id"
    ):
        yield Fault("P7 refund", f"{request_id} was given back {given}, more than its charge")
