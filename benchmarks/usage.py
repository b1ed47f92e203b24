"""`make bench-usage`: how fast usage pages are answered from a ledger with five million entries.

The ledger is written straight into the tables, as 2.5 million charges of 90 days, 200 keys and 5 models would have left it;
the questions are put as a gateway does, through the writer's socket.
"""

import argparse
import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from accounting.command import AddPrice
from accounting.price import Price
from accounting.questions import Usage
from accounting.sqlite import SqliteStore
from accounting.usage import UsageQuery, Width
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.server import LedgerServer

DAY_MS = 86_400_000
NOW_MS = 1_793_000_000_000 - 1_793_000_000_000 % DAY_MS
DAYS, KEYS, MODELS = 90, 200, 5
ENTRIES_PER_CHARGE = 2
REPEATS = 20
CHARGE_NANO = 1_341_000

QUESTIONS = {
    "a month by day": UsageQuery(width=Width.DAY, from_ms=NOW_MS - 31 * DAY_MS, to_ms=NOW_MS),
    "a month by day and model": UsageQuery(
        width=Width.DAY, from_ms=NOW_MS - 31 * DAY_MS, to_ms=NOW_MS, group_by=("model",)
    ),
    "a month by day and key": UsageQuery(
        width=Width.DAY, from_ms=NOW_MS - 31 * DAY_MS, to_ms=NOW_MS, group_by=("key_id",)
    ),
    "a week by hour and model": UsageQuery(
        width=Width.HOUR, from_ms=NOW_MS - 7 * DAY_MS, to_ms=NOW_MS, group_by=("model",)
    ),
    "a day by minute": UsageQuery(width=Width.MINUTE, from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS),
    "a month of one key by day": UsageQuery(
        width=Width.DAY, from_ms=NOW_MS - 31 * DAY_MS, to_ms=NOW_MS, key_ids=("key_7",)
    ),
}


def fill(file: Path, entries: int) -> None:
    """Write the ledger."""
    with closing(SqliteStore(file, lambda: NOW_MS)) as store:
        store.apply(
            [
                AddPrice(Price(model=f"model-{number}", version=1, unit_nano=CHARGE_NANO, batch_unit_nano=CHARGE_NANO))
                for number in range(MODELS)
            ]
        )
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("INSERT INTO account (id, kind) VALUES ('credit:org', 'credit')")
        db.executemany(
            "INSERT INTO hold (request_id, gateway_id, key_id, org_id, project_id, model, price_version, tier, units, parts,"
            " amount_nano, charged_nano, state, why, body_sha, created_at_ms, expires_at_ms, closed_at_ms)"
            """ VALUES (?, 'gw', ?, 'org', 'project', ?, 1, 'default', '{"images": [1], "output": 0}', '["credit:org"]',"""
            " ?, ?, 'posted', 'complete', 'sha', ?, ?, ?)",
            _holds(entries // ENTRIES_PER_CHARGE),
        )
        db.execute(
            "INSERT INTO attempt (request_id, attempt, replica_id, images, text_tokens, vision_tokens, cached_tokens,"
            " output_tokens, ttft_ms, latency_ms, charged) SELECT request_id, 1, 'replica', 1, 64, 1196, 0, 150, 80, 900, 1"
            " FROM hold"
        )
        for account, sign in (("credit:org", 1), ("revenue", -1)):
            db.execute(
                "INSERT INTO entry (kind, ref, account_id, amount_nano, at_ms)"
                " SELECT 'charge', request_id, ?, ? * charged_nano, closed_at_ms FROM hold",
                (account, sign),
            )
            db.execute(
                "UPDATE account SET posted_nano = (SELECT sum(amount_nano) FROM entry WHERE account_id = id) WHERE id = ?",
                (account,),
            )
        for width in Width:
            db.execute(
                "INSERT INTO rollup SELECT ?, created_at_ms - created_at_ms % ?, org_id, project_id, key_id, '', model, tier,"
                " count(*), count(*), count(*), 64 * count(*), 1196 * count(*), 0, 150 * count(*), sum(charged_nano) FROM hold"
                " GROUP BY 2, key_id, model",
                (width, width.ms),
            )
        db.commit()


def _holds(count: int) -> Iterator[tuple[object, ...]]:
    chance = random.Random(1)
    for number in range(count):
        at_ms = NOW_MS - chance.randrange(DAYS * DAY_MS)
        key, model = f"key_{chance.randrange(KEYS)}", f"model-{chance.randrange(MODELS)}"
        yield f"r{number}", key, model, CHARGE_NANO, CHARGE_NANO, at_ms, at_ms + 60_000, at_ms + 900


async def measure(file: Path) -> dict[str, list[float]]:
    """Milliseconds of each question, asked one after the other."""
    with closing(SqliteStore(file, lambda: NOW_MS)) as store:
        server = LedgerServer(store, "token")
        address = Address("127.0.0.1", await server.start("127.0.0.1"), "token")

        async def locate() -> Address:
            return address

        client = LedgerClient(locate)
        client.start()
        times = {name: [await _ms(client, query) for _ in range(REPEATS)] for name, query in QUESTIONS.items()}
        await client.close(1.0)
        await server.stop()
    return times


async def _ms(client: LedgerClient, query: UsageQuery) -> float:
    start = time.perf_counter()
    async for _ in client.pages(Usage(query)):
        pass
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.usage", description=__doc__)
    parser.add_argument("--entries", type=int, default=5_000_000)
    entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory(prefix="vlm-usage-") as folder:
        file = Path(folder, "ledger.db")
        start = time.perf_counter()
        fill(file, entries)
        size_gib = file.stat().st_size / 2**30
        print(f"{entries:,} entries, {size_gib:.1f} GiB, written in {time.perf_counter() - start:.0f} s")
        print("| question | p50 ms | p95 ms |\n| --- | --- | --- |")
        for name, times in asyncio.run(measure(file)).items():
            print(f"| {name} | {statistics.median(times):.0f} | {statistics.quantiles(times, n=20)[-1]:.0f} |")


if __name__ == "__main__":
    main()
