"""Several batches at once, stores of both kinds, and more workers than there should be."""

import asyncio
from pathlib import Path

from deployments.batches.batch import Asked, Status
from deployments.batches.shift import GONE_AFTER_MS, SIGN_EVERY_MS, Shift
from deployments.batches.worker import BATCHES_AT_ONCE
from deployments.files.file import Owner
from tests.batches.office import LOOK_EVERY_S, Office, line, running_office
from tests.batches.test_life import BATCH_NANO, until_closed
from tests.files.conftest import s3, s3_server  # noqa: F401  # fixtures
from tests.gateway.engine_server import pauses_after
from tests.gateway.house import question


async def test_batches_move_on_together(office: Office):
    """The second does not wait until the first is done."""
    batches = [
        await office.begin(*(line(f"{i}", question(user=user)) for i in range(60))) for user in ("first", "second")
    ]
    async with office.worker():
        for batch_id in batches:
            await office.ended(batch_id)
    order = [row["user_id"] for row in office.house.rows("SELECT user_id FROM hold ORDER BY rowid")]
    last_of_first = max(place for place, user in enumerate(order) if user == "first")
    assert order.index("second") < 40
    assert order[:last_of_first].count("second") > 20


async def test_one_owners_batches_wait_for_each_other(office: Office):
    """Beyond a number; another owner's do not."""
    office.house.engine.behaves = pauses_after(0)
    mine = []
    for _ in range(BATCHES_AT_ONCE + 1):
        office.house.clock.ms += 1  # ids sort by their age
        mine.append(await office.begin(line()))
    async with office.worker():
        await office.house.engine.was_asked(BATCHES_AT_ONCE)
        theirs = Asked("batch_" + "f" * 35, Owner("org", "other"), office.house.record.id, "none", office.house.clock())
        await office.book.open(theirs)
        while (await office.book.progress(theirs.id)).status is not Status.FAILED:  # noqa: ASYNC110  # it is in files
            await asyncio.sleep(LOOK_EVERY_S)
        assert [(await office.batch(batch_id))["status"] for batch_id in mine] == [
            *["in_progress"] * BATCHES_AT_ONCE,
            "validating",
        ]
        for i in range(len(mine)):
            office.house.engine.resume(i)
        for batch_id in mine:
            assert (await office.ended(batch_id))["status"] == "completed"


async def test_two_workers_do_no_harm(office: Office):
    """A replica that is being replaced, say: each line is answered once and charged once."""
    batch_id = await office.begin(*(line(f"{i:02}") for i in range(30)))
    async with office.worker(), office.worker():
        await until_closed(office, batch_id)
    batch = await office.batch(batch_id)
    assert (batch["status"], batch["request_counts"]["completed"]) == ("completed", 30)
    assert [row["custom_id"] for row in await office.rows(batch["output_file_id"])] == [f"{i:02}" for i in range(30)]
    assert await office.house.charges_nano() == [BATCH_NANO] * 30


async def test_a_batch_in_a_bucket_ends_as_in_a_folder(tmp_path: Path, s3: str):  # noqa: F811
    """With everything of it in S3."""
    async with running_office(tmp_path, address=s3) as office:
        batch_id = await office.begin(*(line(f"{i:02}") for i in range(20)), line("bad", question(n=2)))
        async with office.worker():
            await until_closed(office, batch_id)
        batch = await office.batch(batch_id)
        assert batch["request_counts"] == {"total": 21, "completed": 20, "failed": 1}
        assert len(await office.rows(batch["output_file_id"])) == 20
        assert len(await office.rows(batch["error_file_id"])) == 1


async def test_the_worker_that_came_last_works(office: Office):
    """The one before leaves what it has, and comes back only if the other shows no sign of life."""
    now_ms = office.house.clock
    before, after = Shift(office.objects, now_ms), Shift(office.objects, now_ms)
    await before.take()
    assert await before.is_ours()
    await after.take()
    for _ in range(10):
        now_ms.ms += SIGN_EVERY_MS + 1
        assert await after.is_ours()
        assert not await before.is_ours()
    now_ms.ms += GONE_AFTER_MS + 1
    assert not await before.is_ours()
    assert await before.is_ours()
    assert not await after.is_ours()
