"""A request's commands, and those that must come before: a price and credit."""

from accounting.command import AddPrice, Attempt, Grant, Hold, Outcome, Post
from accounting.key import KeyRecord
from accounting.price import Price

PRICED = AddPrice(Price(model="m", version=1, unit_nano=1_000, batch_unit_nano=500))
GIFT = Grant(ref="gift", account="credit:org", amount_nano=10_000)
HOLD = Hold(
    request_id="r1",
    gateway_id="gw_1",
    key_id="key_1",
    org_id="org",
    project_id="project",
    model="m",
    price_version=1,
    tier="default",
    image_units=(1,),
    output_units=0,
    tokens_max=2_000,
    amount_nano=1_000,
    body_sha="sha",
    expires_in_ms=60_000,
)
TRIED = Attempt(
    replica_id="replica_1",
    finish="stop",
    images=1,
    text_tokens=64,
    vision_tokens=1_196,
    cached_tokens=0,
    output_tokens=150,
    ttft_ms=80,
    latency_ms=900,
)
POST = Post(request_id="r1", attempt=1, charged_nano=1_000, outcome=Outcome.COMPLETE, record=TRIED)
# `created_at_ms` is the store's clock, which stands at 1,000 in these tests.
KEY = KeyRecord(
    id="key_1",
    sha256="0" * 64,
    org_id="org",
    project_id="project",
    name="laptop",
    scopes=("inference",),
    created_at_ms=1_000,
)
