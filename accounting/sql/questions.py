"""What can be asked of the ledger. No question of a page or a budget scans entries or holds: they read rollups and accounts."""

import json
from collections.abc import Sequence
from typing import Any

from accounting.budget import Budget, BudgetState, Period, account_id
from accounting.key import KeyRecord
from accounting.pages import ORDERS
from accounting.price import Price
from accounting.sql.database import Database
from accounting.sql.keys import COLUMNS, record_of
from accounting.store import SLOT_MS_MAX, Balance, Entry, KeyChange, Place, Snapshot, Total
from accounting.usage import GROUPS, Bucket, UsageQuery

SUMS = ("requests", "images", "units", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "revenue_nano")
HOLD = (
    "request_id", "attempt", "gateway_id", "key_id", "org_id", "project_id", "user_id", "metadata", "model", "price_version",
    "tier", "units", "parts", "amount_nano", "charged_nano", "state", "why", "created_at_ms", "first_byte_at_ms",
    "expires_at_ms", "closed_at_ms",
)  # fmt: skip
ATTEMPT = (
    "request_id", "attempt", "replica_id", "finish", "images", "text_tokens", "vision_tokens", "cached_tokens",
    "output_tokens", "ttft_ms", "latency_ms", "charged", "slot_from_ms", "slot_to_ms",
)  # fmt: skip
SAMPLE = (
    "replica_id", "epoch", "at_ms", "model", "state", "rent_nano_per_hour", "slots_held", "in_flight", "prompt_tokens",
    "output_tokens",
)  # fmt: skip
TAKEOVERS = "SELECT request_id, attempt FROM hold WHERE state = 'open' AND attempt > 1"
AUDIT = ("seq", "at_ms", "actor", "action", "content")
USAGE = (
    "request_id", "org_id", "project_id", "key_id", "user_id", "metadata", "model", "tier", "price_version", "units", "images",
    "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "hold_nano", "charged_nano", "ttft_ms", "latency_ms",
    "replica_id", "finish", "outcome", "created_at_ms", "closed_at_ms",
)  # fmt: skip
# What can be listed between two times: its columns, and the rows.
RECORDS: dict[str, tuple[tuple[str, ...], str]] = {
    "holds": (USAGE, "FROM usage WHERE closed_at_ms >= ? AND closed_at_ms < ?"),
    "attempts": (
        (*ATTEMPT, "model", "charged_nano"),
        (
            "FROM attempt JOIN (SELECT request_id, model, charged_nano FROM hold) AS held USING (request_id)"
            f" WHERE slot_to_ms > ? AND slot_from_ms < ? AND slot_to_ms - slot_from_ms < {SLOT_MS_MAX}"
            # Follows from these, and is what the index knows.
            " AND slot_to_ms < ?"
        ),
    ),
    "samples": (SAMPLE, "FROM sample WHERE at_ms >= ? AND at_ms < ?"),
    "audit": (AUDIT, "FROM audit WHERE at_ms >= ? AND at_ms < ?"),
}


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
    rows = db.all(
        "SELECT model, version, unit_nano, batch_unit_nano, text_token_nano, output_token_nano, basis FROM price"
        " ORDER BY model, version"
    )
    return [Price(*row) for row in rows]


def budgets(db: Database, after: Place, limit: int) -> list[BudgetState]:
    """See `Store.budgets`. A period in which nothing was asked yet has no account: its balance is zero."""
    states = []
    page, parameters = _page(("scope", "period"), after, limit)
    for scope, account_scope, period, limit_nano, alert_nano in db.all(
        "SELECT scope, coalesce(account_scope, scope), period, limit_nano, alert_nano FROM budget WHERE 1 = 1" + page,
        *parameters,
    ):
        account = account_id(account_scope, Period(period), db.now_ms)
        row = db.one("SELECT limit_nano, posted_nano, reserved_nano, alerted_at_ms FROM account WHERE id = ?", account)
        budget = Budget(scope, Period(period), limit_nano, alert_nano)
        states.append(BudgetState(budget, account, *(row or (limit_nano, 0, 0, None))))
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
    return [Balance(*row) for row in rows]


def snapshot(db: Database) -> Snapshot:
    """See `Store.snapshot`."""
    totals = db.all(
        "SELECT model, outcome, requests, images, vision_tokens, text_tokens, output_tokens, charged_nano FROM total"
        " ORDER BY model, outcome"
    )
    holds = db.one("SELECT count(*), coalesce(sum(amount_nano), 0) FROM hold WHERE state = 'open'")
    assert holds
    return Snapshot(tuple(Total(*row) for row in totals), int(holds[0]), int(holds[1]))


def generation(db: Database, request_id: str) -> dict[str, Any] | None:
    """See `Store.generation`."""
    row = db.one(f"SELECT {', '.join(HOLD)} FROM hold WHERE request_id = ?", request_id)
    if row is None:
        return None
    attempts = db.all(f"SELECT {', '.join(ATTEMPT)} FROM attempt WHERE request_id = ? ORDER BY attempt", request_id)
    hold = dict(zip(HOLD, row, strict=True))
    hold |= {name: json.loads(hold[name]) for name in ("units", "parts")}
    return hold | {"attempts": [dict(zip(ATTEMPT, attempt, strict=True)) for attempt in attempts]}


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
    return [Bucket(row[0], tuple(row[1:width]), *(int(value) for value in row[width:])) for row in rows]


def entries(db: Database, after_seq: int, limit: int) -> list[Entry]:
    """See `Store.entries`."""
    rows = db.all(
        "SELECT seq, kind, ref, account_id, amount_nano, at_ms FROM entry WHERE seq > ? ORDER BY seq LIMIT ?",
        after_seq,
        limit,
    )
    return [Entry(*row) for row in rows]


def records(db: Database, what: str, from_ms: int, to_ms: int, after: Place, limit: int) -> list[dict[str, Any]]:
    """See `Store.records`."""
    columns, rows = RECORDS[what]
    page, parameters = _page(ORDERS[what], after, limit)
    until = (to_ms + SLOT_MS_MAX,) if what == "attempts" else ()
    found = db.all(f"SELECT {', '.join(columns)} {rows}{page}", from_ms, to_ms, *until, *parameters)
    return [dict(zip(columns, row, strict=True)) for row in found]


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
