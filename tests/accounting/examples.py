"""A price, a key, and the life of one of its requests: tests vary them with `dataclasses.replace`."""

from datetime import UTC, datetime

from accounting.command import AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Reply, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Store

CREDIT_NANO = 10_000
PRICE = Price("m", 1, unit_nano=1_000, batch_unit_nano=500, basis='{"source": "a test"}')
KEY = KeyRecord("key_1", "0" * 64, "org", "project", "laptop", ("inference", "usage:read"), expires_at_ms=900_000)
TRIED = Attempt(
    "replica_1", "stop", 2, 64, 2_392, 10, 150, ttft_ms=80, latency_ms=900, slot_from_ms=1_100, slot_to_ms=1_900
)
HOLD = Hold(
    "r1", "gw_1", "key_1", "org", "project", "m", 1, "default", (1, 3), 0, 3_000, 4_000, "sha", expires_in_ms=60_000
)
POST = Post("r1", attempt=1, charged_nano=3_000, outcome=Outcome.COMPLETE, record=TRIED)
VOID = Void("r1", attempt=1, outcome=Outcome.ENGINE_FAILED, record=TRIED)

# What a ledger has before the first request.
OPENING: tuple[Command, ...] = (AddPrice(PRICE), Grant("free", "credit:org", CREDIT_NANO))


def results(store: Store, *commands: Command) -> list[Result]:
    """Carry out commands in one transaction; only their results."""
    return [reply.result for reply in store.apply(commands)]


def answer(store: Store, command: Command) -> Reply:
    """Carry out one command."""
    (reply,) = store.apply([command])
    return reply


def at(text: str) -> int:
    """`2026-11-21T23:59:59.999` in milliseconds UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)
