"""What can be asked of the ledger. No question of a page or a budget scans entries or holds: they read rollups and accounts."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from accounting.budget import Budget, BudgetState, Period, account_id
from accounting.command import Attempt, Sample
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.request import EndedAttempt, Generation, Units
from accounting.sql.database import Database, Row
from accounting.sql.keys import COLUMNS, record_of
from accounting.stay import Stay
from accounting.store import SLOT_MS_MAX, AuditLine, Balance, Entry, KeyChange, Place, Snapshot, Total
from accounting.usage import GROUPS, Bucket, UsageQuery

SUMS = ("requests", "images", "units", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "revenue_nano")
HOLD = (
    "request_id", "attempt", "gateway_id", "key_id", "org_id", "project_id", "user_id", "metadata", "model", "price_version",
    "tier", "units", "parts", "amount_nano", "charged_nano", "state", "why", "created_at_ms", "first_byte_at_ms",
    "expires_at_ms", "closed_at_ms",
)  # fmt: skip
ATTEMPT = (
    "replica_id", "finish", "images", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "ttft_ms",
    "latency_ms", "slot_from_ms", "slot_to_ms",
)  # fmt: skip
SAMPLE = (
    "replica_id", "epoch", "at_ms", "model", "state", "rent_nano_per_hour", "slots_held", "in_flight", "prompt_tokens",
    "output_tokens",
)  # fmt: skip
TAKEOVERS = "SELECT request_id, attempt FROM hold WHERE state = 'open' AND attempt > 1"
AUDIT = ("seq", "at_ms", "actor", "action", "content")
PRICE = ("model", "version", "unit_nano", "batch_unit_nano", "text_token_nano", "output_token_nano", "basis")
# The fields of the records that tables call otherwise; and what an account says of a budget.
BALANCE = ("account", "kind", "limit_nano", "posted_nano", "reserved_nano")
ENTRY = ("seq", "kind", "ref", "account", "amount_nano", "at_ms")
STATE = ("limit_nano", "posted_nano", "reserved_nano", "alerted_at_ms")
TOTAL = ("model", "outcome", "requests", "images", "vision_tokens", "text_tokens", "output_tokens", "charged_nano")
STAY = (
    "request_id", "attempt", "replica_id", "model", "from_ms", "to_ms", "finish", "prompt_tokens", "output_tokens",
    "charged_nano",
)  # fmt: skip
USAGE = (
    "request_id", "org_id", "project_id", "key_id", "user_id", "metadata", "model", "tier", "price_version", "units", "images",
    "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "hold_nano", "charged_nano", "ttft_ms", "latency_ms",
    "replica_id", "finish", "outcome", "created_at_ms", "closed_at_ms",
)  # fmt: skip
# An attempt that was charged has the charge of its request, and no other has one.
STAYS = (
    "SELECT request_id, attempt, replica_id, model, slot_from_ms, slot_to_ms, finish, text_tokens + vision_tokens,"
    " output_tokens, CASE WHEN charged = 1 THEN charged_nano END"
    " FROM attempt JOIN (SELECT request_id, model, charged_nano FROM hold) AS held USING (request_id)"
    f" WHERE slot_to_ms > ? AND slot_from_ms < ? AND slot_to_ms - slot_from_ms < {SLOT_MS_MAX}"
    # Follows from these, and is what the index knows.
    " AND slot_to_ms < ? AND replica_id IS NOT NULL"
)


def keys(db: Database) -> list[KeyRecord]:
    """See `Store.keys`."""
    return [record_of(row) for row in db.all(f"SELECT {', '.join(COLUMNS)} FROM api_key ORDER BY created_at_ms, id")]


def key_changes(db: Database, after: Place, limit: int) -> list[KeyChange]:
    """See `Store.key_changes`."""
    page, parameters = _page(("changed_seq",), after, limit)
    rows = db.all(f"SELECT changed_seq, {', '.join(COLUMNS)} FROM api_key WHERE 1 = 1{page}", *parameters)
    return [KeyChange(row[0], record_of(row[1:])) for row in rows]


def prices(db: Database) -> list[Price]:
    """See `Store.prices`."""
    rows = db.all(f"SELECT {', '.join(PRICE)} FROM price ORDER BY model, version")
    return [Price(**named) for named in _named(PRICE, rows)]


def budgets(db: Database, after: Place, limit: int) -> list[BudgetState]:
    """See `Store.budgets`. A period in which nothing was asked yet has no account: its balance is zero."""
    states = []
    page, parameters = _page(("scope", "period"), after, limit)
    for scope, account_scope, period, limit_nano, alert_nano in db.all(
        "SELECT scope, coalesce(account_scope, scope), period, limit_nano, alert_nano FROM budget WHERE 1 = 1" + page,
        *parameters,
    ):
        account = account_id(account_scope, Period(period), db.now_ms)
        row = db.one(f"SELECT {', '.join(STATE)} FROM account WHERE id = ?", account) or (limit_nano, 0, 0, None)
        budget = Budget(scope=scope, period=Period(period), limit_nano=limit_nano, alert_nano=alert_nano)
        states.append(BudgetState(budget=budget, account=account, **dict(zip(STATE, row, strict=True))))
    return states


def takeovers(db: Database) -> list[tuple[str, int]]:
    """See `Store.takeovers`."""
    # Sorted here: by an ORDER BY, SQLite would read every hold that there ever was, and not the index of the open ones.
    rows = db.all(TAKEOVERS)
    return sorted((request_id, attempt) for request_id, attempt in rows)


def balances(db: Database, after: Place, limit: int) -> list[Balance]:
    """See `Store.balances`."""
    page, parameters = _page(("id",), after, limit)
    rows = db.all(
        f"SELECT id, kind, limit_nano, posted_nano, reserved_nano FROM account WHERE 1 = 1{page}", *parameters
    )
    return [Balance(**named) for named in _named(BALANCE, rows)]


def snapshot(db: Database) -> Snapshot:
    """See `Store.snapshot`."""
    totals = db.all(f"SELECT {', '.join(TOTAL)} FROM total ORDER BY model, outcome")
    holds = db.one("SELECT count(*), coalesce(sum(amount_nano), 0) FROM hold WHERE state = 'open'")
    assert holds
    return Snapshot(
        totals=tuple(Total(**named) for named in _named(TOTAL, totals)),
        holds_open=int(holds[0]),
        reserved_nano=int(holds[1]),
    )


def generation(db: Database, request_id: str) -> Generation | None:
    """See `Store.generation`."""
    row = db.one(f"SELECT {', '.join(HOLD)} FROM hold WHERE request_id = ?", request_id)
    if row is None:
        return None
    attempts = db.all(
        f"SELECT attempt, charged, {', '.join(ATTEMPT)} FROM attempt WHERE request_id = ? ORDER BY attempt", request_id
    )
    hold = dict(zip(HOLD, row, strict=True))
    units = json.loads(hold["units"])
    return Generation(
        **hold
        | {
            "units": Units(images=tuple(units["images"]), output=units["output"]),
            "parts": tuple(json.loads(hold["parts"])),
            "attempts": tuple(_ended_attempt(*attempt) for attempt in attempts),
        }
    )


def _ended_attempt(attempt: int, charged: int, *record: Any) -> EndedAttempt:
    return EndedAttempt(
        attempt=attempt, charged=bool(charged), record=Attempt(**dict(zip(ATTEMPT, record, strict=True)))
    )


def usage(db: Database, query: UsageQuery, after: Place, limit: int) -> list[Bucket]:
    """See `Store.usage`."""
    if not set(query.group_by) <= set(GROUPS):
        raise ValueError(f"usage is grouped by {', '.join(GROUPS)}")
    conditions, parameters = ["width = ?", "start_ms >= ?", "start_ms < ?"], [query.width, query.from_ms, query.to_ms]
    for column, wanted in (
        ("model", query.models),
        ("key_id", query.key_ids),
        ("project_id", query.project_ids),
        ("user_id", query.user_ids),
        ("org_id", query.org_ids),
    ):
        if wanted:
            conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            parameters += wanted
    columns = ("start_ms", *query.group_by)
    behind, place = _behind(columns, after)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    rows = db.all(
        f"SELECT {', '.join(columns)}, {sums} FROM rollup WHERE {' AND '.join(conditions)}{behind}"
        f" GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)} LIMIT ?",
        *parameters, *place, limit,
    )  # fmt: skip
    width = len(columns)
    return [
        Bucket(start_ms=row[0], group=tuple(row[1:width]), **dict(zip(SUMS, map(int, row[width:]), strict=True)))
        for row in rows
    ]


def entries(db: Database, after_seq: int, limit: int) -> list[Entry]:
    """See `Store.entries`."""
    rows = db.all(
        "SELECT seq, kind, ref, account_id, amount_nano, at_ms FROM entry WHERE seq > ? ORDER BY seq LIMIT ?",
        after_seq,
        limit,
    )
    return [Entry(**named) for named in _named(ENTRY, rows)]


def ended_requests(db: Database, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """See `Store.ended_requests`."""
    rows = db.all(
        f"SELECT {', '.join(USAGE)} FROM usage WHERE closed_at_ms >= ? AND closed_at_ms < ? ORDER BY closed_at_ms, request_id",
        from_ms,
        to_ms,
    )
    return list(_named(USAGE, rows))


def stays(db: Database, from_ms: int, to_ms: int, after: Place, limit: int) -> list[Stay]:
    """See `Store.stays`."""
    page, parameters = _page(("slot_to_ms", "request_id", "attempt"), after, limit)
    rows = db.all(STAYS + page, from_ms, to_ms, to_ms + SLOT_MS_MAX, *parameters)
    return [Stay(**named) for named in _named(STAY, rows)]


def samples(db: Database, from_ms: int, to_ms: int, after: Place, limit: int) -> list[Sample]:
    """See `Store.samples`."""
    page, parameters = _page(("at_ms", "replica_id", "epoch"), after, limit)
    rows = db.all(
        f"SELECT {', '.join(SAMPLE)} FROM sample WHERE at_ms >= ? AND at_ms < ?{page}", from_ms, to_ms, *parameters
    )
    return [Sample(**named) for named in _named(SAMPLE, rows)]


def audit(db: Database, from_ms: int, to_ms: int, after: Place, limit: int) -> list[AuditLine]:
    """See `Store.audit`."""
    page, parameters = _page(("seq",), after, limit)
    rows = db.all(
        f"SELECT {', '.join(AUDIT)} FROM audit WHERE at_ms >= ? AND at_ms < ?{page}", from_ms, to_ms, *parameters
    )
    return [AuditLine(**named) for named in _named(AUDIT, rows)]


def _named(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Every row by the names of its columns."""
    return (dict(zip(columns, row, strict=True)) for row in rows)


def _page(order: Sequence[str], after: Place, limit: int) -> tuple[str, tuple[object, ...]]:
    """The end of a statement with a WHERE: the rows behind a place, in order."""
    behind, place = _behind(order, after)
    return f"{behind} ORDER BY {', '.join(order)} LIMIT ?", (*place, limit)


def _behind(order: Sequence[str], after: Place) -> tuple[str, Place]:
    """A condition more: only rows behind a place."""
    if not after:
        return "", ()
    # The first column alone as well: so its index is used.
    return f" AND {order[0]} >= ? AND ({', '.join(order)}) > ({', '.join('?' * len(after))})", (after[0], *after)
