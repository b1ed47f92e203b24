"""Long answers come in pages: where a row has its place, so that the next page begins behind it. Pure."""

from typing import Any

from accounting.budget import BudgetState
from accounting.store import Balance, KeyChange, Place
from accounting.usage import Bucket

# The columns by which `Store.records` is ordered: no two rows are alike in them.
ORDERS = {
    "holds": ("closed_at_ms", "request_id"),
    "attempts": ("slot_to_ms", "request_id", "attempt"),
    "samples": ("at_ms", "replica_id", "epoch"),
    "audit": ("seq",),
}

Row = KeyChange | BudgetState | Balance | Bucket | dict[str, Any]


def place_of(row: Row, what: object = None, *_: object) -> Place:
    """The place of a row of an answer of `Store`. `what`: of one of `Store.records`, its first argument."""
    match row:
        case KeyChange():
            return (row.seq,)
        case BudgetState():
            return row.budget.scope, str(row.budget.period)
        case Balance():
            return (row.account,)
        case Bucket():
            return row.start_ms, *row.group
    return tuple(row[column] for column in ORDERS[str(what)])
