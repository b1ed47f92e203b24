"""How many requests a second a store alone can settle: hold and post, in the batches that a group commit makes.

python -m benchmarks.store [--seconds 10] [postgresql://... | ledger.db ...]

Without a store it measures a new SQLite file in a temporary folder. Each request has what a request can have: a key with a
daily budget and all four rate limits, and a measured attempt.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from accounting.budget import Period
from accounting.command import AddKey, AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Result, SetBudget
from accounting.key import KeyRecord
from accounting.limits import RateLimits
from accounting.price import Price
from accounting.store import Store
from accounting.stores import open_store

BATCH = 256  # as `accounting.group_commit.BATCH_MAX`
PLENTY = 10**15
LIMITS = RateLimits(requests_per_minute=PLENTY, images_per_minute=PLENTY, tokens_per_minute=PLENTY, concurrency=PLENTY)
TRIED = Attempt(
    replica_id="replica",
    finish="stop",
    images=1,
    text_tokens=64,
    vision_tokens=1_196,
    cached_tokens=0,
    output_tokens=150,
    ttft_ms=80,
    latency_ms=900,
    slot_from_ms=1,
    slot_to_ms=2,
)


def measure(store: Store, seconds: float) -> tuple[int, float]:
    """Settle requests for about `seconds`. Returns how many, and the time that the store took."""
    run = f"{time.time_ns():x}"  # a ledger that is measured again knows the requests of the last time
    store.apply(
        [
            AddPrice(Price(model="model", version=1, unit_nano=1_341_000, batch_unit_nano=670_500)),
            AddKey(
                KeyRecord(
                    id="key", sha256="sha", org_id="org", project_id="project", name="a key", scopes=("inference",)
                )
            ),
            Grant(ref=f"credit {run}", account="credit:org", amount_nano=PLENTY),
            SetBudget(scope="key:key", period=Period.DAY, limit_nano=PLENTY),
        ]
    )
    posted, elapsed_s = 0, 0.0
    for batch in batches(run):
        began_s = time.perf_counter()
        replies = store.apply(batch)
        elapsed_s += time.perf_counter() - began_s
        posted += sum(reply.result is Result.POSTED for reply in replies)
        if elapsed_s > seconds:
            break
    return posted, elapsed_s


def batches(run: str) -> Iterator[list[Command]]:
    """Half a batch begins what the second half of the next one ends."""
    running: list[Hold] = []
    for first in count(0, BATCH // 2):
        ends = [
            Post(
                request_id=hold.request_id,
                attempt=1,
                charged_nano=hold.amount_nano,
                outcome=Outcome.COMPLETE,
                record=TRIED,
            )
            for hold in running
        ]
        running = [hold_of(f"{run}-{number}") for number in range(first, first + BATCH // 2)]
        yield [*running, *ends]


def hold_of(request_id: str) -> Hold:
    return Hold(
        request_id=request_id,
        gateway_id="gw",
        key_id="key",
        org_id="org",
        project_id="project",
        model="model",
        price_version=1,
        tier="default",
        image_units=(1,),
        output_units=0,
        tokens_max=1_500,
        amount_nano=1_341_000,
        body_sha="sha",
        expires_in_ms=60_000,
        limits=LIMITS,
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("stores", nargs="*", help="paths of SQLite files, URLs of PostgreSQL servers")
    options.add_argument("--seconds", type=float, default=10)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for where in chosen.stores or [str(Path(folder, "ledger.db"))]:
            with closing(open_store(where, lambda: time.time_ns() // 1_000_000)) as store:
                settled, elapsed_s = measure(store, chosen.seconds)
                faults = store.verify()
            kind = type(store).__name__
            print(f"{kind}: {settled / elapsed_s:,.0f} requests/s settled in batches of {BATCH}, {len(faults)} faults")


if __name__ == "__main__":
    main()
