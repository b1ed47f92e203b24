"""What a worker goes on from."""

from pathlib import Path

import pytest

from deployments.batches.journal import Begun, Entry, Journal
from deployments.batches.line import Result
from deployments.batches.tally import FAILED, Tally
from deployments.files.objects import Objects, open_objects

ANSWERED = Result(7, Tally(1, 0, 46, 4, 3, 5_000), b'{"custom_id":"a","response":{"body":{}}}')
NOT = Result(8, FAILED, b'{"custom_id":"b","response":null}')


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(str(tmp_path))


async def read(objects: Objects, prefix: str = "journals/b/") -> list[Entry]:
    return [entry async for entries in Journal(objects, prefix).segments() for entry in entries]


async def test_what_is_appended_is_read(objects: Objects):
    """In its order."""
    journal = Journal(objects, "journals/b/")
    await journal.append([Begun("m", 16)])
    await journal.append([ANSWERED, NOT])
    assert await read(objects) == [Begun("m", 16), ANSWERED, NOT]


async def test_the_next_worker_writes_on(objects: Objects):
    """Behind what is there."""
    await Journal(objects, "journals/b/").append([ANSWERED])
    journal = Journal(objects, "journals/b/")
    assert [entries async for entries in journal.segments()] == [[ANSWERED]]
    await journal.append([NOT])
    assert await read(objects) == [ANSWERED, NOT]


async def test_two_workers_do_not_write_over_each_other(objects: Objects):
    """Each thinks that it is alone."""
    for entry in (ANSWERED, NOT):
        await Journal(objects, "journals/b/").append([entry])
    assert {entry.number for entry in await read(objects)} == {7, 8}


async def test_a_journal_is_removed_whole(objects: Objects):
    """And no other one."""
    for prefix in ("journals/b/", "journals/c/"):
        await Journal(objects, prefix).append([ANSWERED])
    await Journal(objects, "journals/b/").remove()
    assert await read(objects) == []
    assert await read(objects, "journals/c/") == [ANSWERED]
