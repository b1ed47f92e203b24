"""A request's commands, and those that must come before: a price and credit."""

from accounting.command import AddPrice, Attempt, Grant, Hold, Outcome, Post
from accounting.key import KeyRecord
from accounting.price import Price

PRICED = AddPrice(Price("m", 1, unit_nano=1_000, batch_unit_nano=500))
GIFT = Grant("gift", "credit:org", 10_000)
HOLD = Hold(
    "r1",
    "gw_1",
    "key_1",
    "org",
    "project",
    "m",
    1,
    "default",
    image_units=(1,),
    output_units=0,
    tokens_max=2_000,
    amount_nano=1_000,
    body_sha="sha",
    expires_in_ms=60_000,
)
TRIED = Attempt("replica_1", "stop", 1, 64, 1_196, 0, 150, ttft_ms=80, latency_ms=900)
POST = Post("r1", 1, charged_nano=1_000, outcome=Outcome.COMPLETE, record=TRIED)
# `created_at_ms` is the store's clock, which stands at 1,000 in these tests.
KEY = KeyRecord("key_1", "0" * 64, "org", "project", "laptop", ("inference",), created_at_ms=1_000)
