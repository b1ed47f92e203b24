"""What was charged for requests, and given back: the lines of `revenue`, each with its request."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accounting.store import Entry
from exports.errors import UnknownRequest
from exports.ledger import Ledger

REVENUE = "revenue"  # the account that every charge is booked against
CHARGE = "charge"
REFUND = "refund"

# A request as the ledger's view `usage` has it.
Request = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request was charged; below zero if it was given back. `seq`, `kind` and `ref` are those of its ledger line."""

    seq: int
    kind: str
    ref: str
    amount_nano: int
    at_ms: int
    request: Request


def charges_of(ledger: Ledger, entries: list[Entry]) -> list[Charge]:
    """The charges and refunds among these lines, in their order. Raises `UnknownRequest`."""
    booked = [entry for entry in entries if entry.account == REVENUE]
    if not booked:
        return []
    from_ms, to_ms = min(entry.at_ms for entry in booked), max(entry.at_ms for entry in booked) + 1
    requests = {(CHARGE, row["request_id"]): row for row in ledger.ended_requests(from_ms, to_ms)}
    if any(entry.kind == REFUND for entry in booked):
        requests |= {(REFUND, ref): row for ref, row in _refunded(ledger, from_ms, to_ms)}
    return [_charge(entry, requests.get((entry.kind, entry.ref))) for entry in booked]


def _charge(entry: Entry, request: Request | None) -> Charge:
    if request is None:
        raise UnknownRequest(
            f"line {entry.seq} is of a request that this ledger does not know, because it was imported;"
            " copy the export that it was imported from, and go on from there"
        )
    return Charge(entry.seq, entry.kind, entry.ref, -entry.amount_nano, entry.at_ms, request)


def _refunded(ledger: Ledger, from_ms: int, to_ms: int) -> Iterator[tuple[str, Request]]:
    """The ref of each refund, and the request it is of: the audit log knows."""
    for line in ledger.audit(from_ms, to_ms):
        if line.action == REFUND:
            refund = json.loads(line.content)
            if request := _request(ledger, refund["request_id"]):
                yield refund["ref"], request


def _request(ledger: Ledger, request_id: str) -> Request | None:
    known = ledger.generation(request_id)
    if known is None or known.closed_at_ms is None:
        return None
    ended = ledger.ended_requests(known.closed_at_ms, known.closed_at_ms + 1)
    return next((request for request in ended if request["request_id"] == request_id), None)
