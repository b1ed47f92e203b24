"""A worker that is killed, at any moment, and started again: a real process, gateway, ledger and engine."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from accounting.failpoint import VARIABLE
from tests.batches.office import ENDED, Office, line, running_office
from tests.batches.test_life import BATCH_NANO, until_closed
from tests.gateway.house import PRICE, House

LINES = 500
DEATHS = 5
CHECKOUT = Path(__file__).parents[2]


@asynccontextmanager
async def served_lines(house: House) -> AsyncIterator[str]:
    """The gateway for a worker in another process. What it has begun goes on when its caller is gone, as under Ray."""

    async def run(request: web.Request) -> web.Response:
        answered = await house.app.run_line(request.query["key_id"], request.query["name"], await request.read())
        return web.Response(status=answered.status, headers=answered.headers, body=answered.body)

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/", run)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@asynccontextmanager
async def worker(office: Office, url: str, failpoint: str = "") -> AsyncIterator[Process]:
    """A worker's process; it is killed at the end."""
    folder, now_ms = office.house.file.parent / "files", office.house.clock()
    command = [sys.executable, "-m", "tests.batches.worker_process", str(folder), url, PRICE.model, str(now_ms)]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, env=os.environ | {VARIABLE: failpoint})
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def check(office: Office, batch_id: str, lines: int) -> None:
    """Each line is answered once, and charged once, at half the price."""
    batch = await office.batch(batch_id)
    assert (batch["status"], batch["error_file_id"]) == ("completed", None)
    assert batch["request_counts"] == {"total": lines, "completed": lines, "failed": 0}
    rows = await office.rows(batch["output_file_id"])
    assert [row["custom_id"] for row in rows] == [f"{i:04}" for i in range(lines)]
    assert {row["response"]["status_code"] for row in rows} == {200}
    assert batch["usage"]["cost_details"]["charged_nano"] == lines * BATCH_NANO
    assert len(office.house.engine.asked) == lines
    assert await office.house.charges_nano() == [BATCH_NANO] * lines


@pytest.mark.parametrize("seed", range(2))
async def test_every_line_is_answered_and_charged_once_however_often_the_worker_dies(tmp_path: Path, seed: int):
    """Killed five times, at random."""
    drawn = random.Random(seed)
    async with running_office(tmp_path) as office, served_lines(office.house) as url:
        batch_id = await office.begin(*(line(f"{i:04}") for i in range(LINES)))
        for asked in sorted(drawn.sample(range(1, LINES - 150), DEATHS)):
            async with worker(office, url):
                await office.house.engine.was_asked(asked)
                await asyncio.sleep(drawn.random() / 10)
            assert (await office.batch(batch_id))["status"] not in ENDED
        async with worker(office, url):
            await until_closed(office, batch_id)
        await check(office, batch_id, LINES)


@pytest.mark.parametrize(
    "failpoint",
    [
        "batch.segment_written:1",
        "batch.segment_written:2",
        "batch.segment_written:4",
        "batch.finalizing:1",
        "batch.output_written:1",
        "batch.files_written:1",
        "batch.closing:1",
    ],
)
async def test_a_worker_that_dies_at_this_step_is_gone_on_from(tmp_path: Path, failpoint: str):
    """Whatever was written by then."""
    async with running_office(tmp_path) as office, served_lines(office.house) as url:
        batch_id = await office.begin(*(line(f"{i:04}") for i in range(40)))
        async with worker(office, url, failpoint) as process:
            assert await process.wait() == -9
        async with worker(office, url):
            await until_closed(office, batch_id)
        await check(office, batch_id, 40)
