"""A price, a key, and the life of one of its requests: tests vary them with `dataclasses.replace`."""

from datetime import UTC, datetime

from accounting.command import AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Reply, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Store

CREDIT_NANO = 10_000
PRICE = Price(model="m", version=1, unit_nano=1_000, batch_unit_nano=500, basis='{"source": "a test"}')
KEY = KeyRecord(
    id="key_1",
    sha256="0" * 64,
    org_id="org",
    project_id="project",
    name="laptop",
    scopes=("inference", "usage:read"),
    expires_at_ms=900_000,
)
TRIED = Attempt(
    replica_id="replica_1",
    finish="stop",
    images=2,
    text_tokens=64,
    vision_tokens=2_392,
    cached_tokens=10,
    output_tokens=150,
    ttft_ms=80,
    latency_ms=900,
    slot_from_ms=1_100,
    slot_to_ms=1_900,
)
HOLD = Hold(
    request_id="r1",
    gateway_id="gw_1",
    key_id="key_1",
    org_id="org",
    project_id="project",
    model="m",
    price_version=1,
    tier="default",
    image_units=(1, 3),
    output_units=0,
    tokens_max=3_000,
    amount_nano=4_000,
    body_sha="sha",
    expires_in_ms=60_000,
)
POST = Post(request_id="r1", attempt=1, charged_nano=3_000, outcome=Outcome.COMPLETE, record=TRIED)
VOID = Void(request_id="r1", attempt=1, outcome=Outcome.ENGINE_FAILED, record=TRIED)

# What a ledger has before the first request.
OPENING: tuple[Command, ...] = (AddPrice(PRICE), Grant(ref="free", account="credit:org", amount_nano=CREDIT_NANO))


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
