import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from accounting.command import AddKey, AddPrice, Command, Grant, Reply, Result
from accounting.group_commit import BATCH_MAX, GroupCommit, apply_each
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.sqlite import SqliteStore
from accounting.store import Store, StoreError

Rows = Callable[..., list[tuple[Any, ...]]]

GIFT = Grant(ref="gift", account="credit:org", amount_nano=100)
# Below the account's limit of 0: the schema's CHECK refuses it.
BAD = Grant(ref="theft", account="credit:poor", amount_nano=-1)


@pytest.fixture
async def commits(store: SqliteStore) -> AsyncIterator[GroupCommit]:
    """A running group commit."""
    commits = GroupCommit(store)
    run = asyncio.create_task(commits.run())
    yield commits
    await stop(run)


async def stop(run: asyncio.Task[None]) -> None:
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run


async def results(commits: GroupCommit, *commands: Command) -> list[Result]:
    async with asyncio.timeout(10):
        return [reply.result for reply in await asyncio.gather(*map(commits.submit, commands))]


def gift(number: int) -> Grant:
    return Grant(ref=f"gift {number}", account="credit:org", amount_nano=number)


async def test_commands_are_carried_out_in_order(commits: GroupCommit, rows: Rows):
    """Also across batches: each command finds what those before it did."""
    count = 2 * BATCH_MAX + 1
    told = await results(commits, *(gift(number // 2 + 1) for number in range(2 * count)))
    assert told == [Result.CREATED, Result.EXISTS] * count
    assert rows("SELECT ref FROM entry WHERE account_id = 'credit:org' ORDER BY seq") == [
        (f"gift {number + 1}",) for number in range(count)
    ]


async def test_what_is_answered_is_durable(commits: GroupCommit, rows: Rows):
    """A result is known only once another connection can see its effect."""
    assert await results(commits, GIFT) == [Result.CREATED]
    assert rows("SELECT posted_nano FROM account WHERE id = 'credit:org'") == [(-100,)]


async def test_a_bad_row_harms_no_other(commits: GroupCommit):
    """What no store can hold is refused alone; the rest of its batch takes effect."""
    told = await results(commits, gift(1), BAD, gift(2))
    assert told == [Result.CREATED, Result.INVALID, Result.CREATED]


def test_a_bad_row_leaves_nothing_behind(store: SqliteStore, rows: Rows):
    """Not even the account that it would have made."""
    assert apply_each(store, [BAD, GIFT]) == [Reply(Result.INVALID), Reply(Result.CREATED)]
    assert rows("SELECT ref FROM entry WHERE account_id LIKE 'credit:%'") == [("gift",)]
    assert rows("SELECT id FROM account WHERE kind = 'credit'") == [("credit:org",)]


class Poisoned:
    """A store that one gift is too much for, whatever comes with it. `transactions`: how many were tried."""

    def __init__(self, store: SqliteStore, poison: Grant) -> None:
        self._store = store
        self._poison = poison
        self.transactions = 0

    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        self.transactions += 1
        if self._poison in commands:
            raise StoreError("index row size exceeds its maximum")
        return self._store.apply(commands)


def test_a_command_that_the_store_fails_on_fails_alone(store: SqliteStore):
    """A full batch with it takes effect but for it, with 16 transactions more and not 256."""
    poisoned = Poisoned(store, gift(100))
    told = apply_each(cast("Store", poisoned), [gift(number) for number in range(1, BATCH_MAX + 1)])
    failed = [number for number, reply in enumerate(told, 1) if isinstance(reply, StoreError)]
    assert failed == [100]
    assert [reply for reply in told if reply == Reply(Result.CREATED)] == [Reply(Result.CREATED)] * (BATCH_MAX - 1)
    assert poisoned.transactions == 1 + 16


async def test_an_amount_beyond_64_bits_is_refused_and_harms_no_other(commits: GroupCommit):
    """JSON carries larger integers than SQLite: they end as a refusal, not as the end of the committer."""
    assert await results(commits, Grant(ref="huge", account="credit:org", amount_nano=2**63), gift(1)) == [
        Result.INVALID,
        Result.CREATED,
    ]


async def test_a_store_that_cannot_write_fails_every_command(store: SqliteStore, commits: GroupCommit):
    """On a full disk each command is told so, and once there is room the same commands work."""
    large = [
        AddPrice(Price(model=f"m{i}", version=1, unit_nano=1, batch_unit_nano=1, basis="x" * 60_000)) for i in range(2)
    ]
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's own full disk: the file may not grow
    async with asyncio.timeout(10):
        failures = await asyncio.gather(*map(commits.submit, large), return_exceptions=True)
        store._db.execute("PRAGMA max_page_count = 1000000")
    assert await results(commits, *large) == [Result.CREATED] * 2
    assert [type(failure) for failure in failures] == [StoreError] * 2


async def test_the_queue_is_emptied_only_after_the_commit(store: SqliteStore, file: Path, rows: Rows):
    """A commit that is cut off is made again with the next one: nothing is lost, and nothing happens twice."""
    commits = GroupCommit(store)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the store's transaction has to wait for this one
        first = commits.submit(GIFT)
        run = asyncio.create_task(commits.run())
        await asyncio.sleep(0)  # `run` hands the batch to its thread
        await stop(run)
        assert not first.done()
    second = commits.submit(GIFT)
    run = asyncio.create_task(commits.run())
    async with asyncio.timeout(10):
        assert (await first).result in {Result.CREATED, Result.EXISTS}
        assert (await second).result is Result.EXISTS
    await stop(run)
    assert rows("SELECT posted_nano FROM account WHERE id = 'credit:org'") == [(-100,)]


async def test_a_cancelled_future_does_not_cancel_its_command(commits: GroupCommit):
    """Whoever asked may be gone; the command is carried out, and those after it are answered."""
    commits.submit(GIFT).cancel()
    assert await results(commits, GIFT) == [Result.EXISTS]


async def test_a_question_sees_what_is_committed(commits: GroupCommit):
    """Questions are put between two transactions."""
    key = KeyRecord(
        id="key_1", sha256="0" * 64, org_id="org", project_id="project", name="laptop", scopes=(), created_at_ms=1_000
    )
    await results(commits, AddKey(key))
    async with asyncio.timeout(10):
        assert await commits.ask(lambda store: store.keys()) == [key]
