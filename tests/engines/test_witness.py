"""The witness, beside a real engine process (a few lines of `http.server`) and a real ledger."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from accounting.command import Sample
from accounting.sqlite import SqliteStore
from deployments.engines.launch import Launch
from deployments.engines.server import EngineServer, Patience
from deployments.engines.witness import UNREAD, Counters, Occupant, Rhythm, Witness, counters_of, read_counters
from deployments.guard import descendants
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.server import LedgerServer

PATIENCE = Patience(start_s=20.0, stop_s=5.0, health_s=2.0, poll_s=0.02, backoff_s=(0.01,))
# Nothing in these tests waits for the next regular sample, unless it says so.
RHYTHM = Rhythm(every_s=1000.0, read_s=5.0, slot_over_s=0.0, close_s=10.0)
OCCUPANT = Occupant("replica", "m", rent_nano_per_hour=50_000_000)
TOKEN = "a token"

# Its counters are the content of a file; without the file it has none.
ENGINE = """
import http.server, json, sys, pathlib
port, counters = int(sys.argv[1]), pathlib.Path(sys.argv[2])
NAMES = ("vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:generation_tokens_total")
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = self.path == "/health" or counters.exists()
        self.send_response(200 if found else 404)
        self.end_headers()
        if found and self.path == "/metrics":
            lines = (f"{name} {value}\\n" for name, value in zip(NAMES, json.loads(counters.read_text())))
            self.wfile.write("".join(lines).encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", port), Engine).serve_forever()
"""

# What vLLM 0.32 says, shortened: two engine cores, and a value of something else that is no number.
VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="demo"} 2.0
vllm:num_requests_running{engine="1",model_name="demo"} 1.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="demo"} 0.0
vllm:num_requests_waiting{engine="1",model_name="demo"} 4.0
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="demo"} 1.234567e+06
vllm:prompt_tokens_total{engine="1",model_name="demo"} 3.0
# HELP vllm:prompt_tokens_created Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_created gauge
vllm:prompt_tokens_created{engine="0",model_name="demo"} 1.7956e+09
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="demo"} 10.0
vllm:generation_tokens_total{engine="1",model_name="demo"} 20.0
# TYPE vllm:mean gauge
vllm:mean NaN
"""

# What LMDeploy 0.18 says, shortened.
LMDEPLOY = """\
# TYPE lmdeploy:num_requests_succeeded gauge
lmdeploy:num_requests_succeeded{engine="0",model_name="tiny"} 1.0
# TYPE lmdeploy:num_api_requests_routed gauge
lmdeploy:num_api_requests_routed{engine="0",model_name="tiny"} 3.0
# TYPE lmdeploy:num_api_requests_waiting gauge
lmdeploy:num_api_requests_waiting{engine="0",model_name="tiny"} -32.0
# TYPE lmdeploy:num_requests_running gauge
lmdeploy:num_requests_running{engine="0",model_name="tiny"} 2.0
# TYPE lmdeploy:num_requests_waiting gauge
lmdeploy:num_requests_waiting{engine="0",model_name="tiny"} 1.0
# TYPE lmdeploy:prompt_tokens_total counter
lmdeploy:prompt_tokens_total{engine="0",model_name="tiny"} 3356.0
# TYPE lmdeploy:generation_tokens_total counter
lmdeploy:generation_tokens_total{engine="0",model_name="tiny"} 31.0
# TYPE lmdeploy:cached_tokens_total counter
lmdeploy:cached_tokens_total{engine="0",model_name="tiny"} 7.0
"""


class House:
    """An engine replica's witness, its engine server, and a ledger that can be opened late."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self.counters = folder / "counters"
        self.store = store
        self.ledger = LedgerServer(store, TOKEN)
        self.address: Address | None = None
        self.client = LedgerClient(self.locate)
        self.witness = Witness(OCCUPANT, self.client, lambda: 1_000, RHYTHM)  # a clock that stands
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = (sys.executable, "-c", ENGINE, str(port), str(self.counters))
        launch = Launch(command, {})
        self.engine = EngineServer(launch, f"http://127.0.0.1:{port}", PATIENCE, self.witness.look_soon)
        self.count(0, 0, 0)

    async def locate(self) -> Address:
        if self.address is None:
            raise ConnectionError("no ledger yet")
        return self.address

    async def open_ledger(self) -> None:
        self.address = Address("127.0.0.1", await self.ledger.start("127.0.0.1"), TOKEN)

    async def start(self) -> None:
        """As a replica does."""
        self.witness.start()
        self.witness.watch(self.engine)
        await self.engine.start()

    async def stop(self) -> None:
        await self.engine.stop()
        await self.witness.close()

    def count(self, *counters: int) -> None:
        """The engine's counters, all at once."""
        new = self.counters.with_suffix(".new")
        new.write_text(json.dumps(counters))
        new.rename(self.counters)

    def samples(self) -> list[Sample]:
        """By time. Every test has one replica of one model."""
        samples = self.store.samples(0, 2**60)
        for sample in samples:
            assert (sample.replica_id, sample.model, sample.rent_nano_per_hour) == ("replica", "m", 50_000_000)
        return samples

    def states(self) -> list[str]:
        return [sample.state for sample in self.samples()]

    def last(self, *columns: str) -> tuple[Any, ...]:
        return tuple(getattr(self.samples()[-1], column) for column in columns)


async def until(condition: Callable[[], object]) -> None:
    """Wait for another process, within bounds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    with closing(SqliteStore(tmp_path / "ledger.db", lambda: 1_000)) as store:
        house = House(tmp_path, store)
        yield house
        house.witness._rhythm = replace(RHYTHM, close_s=0.0)
        await house.stop()
        await house.ledger.stop()
        if house.engine._process:
            house.engine._process.__exit__(None, None, None)  # closes its pipes


@pytest.fixture
async def running(house: House) -> House:
    """With a ledger, and ready."""
    await house.open_ledger()
    await house.start()
    await until(lambda: "ready" in house.states())
    return house


async def test_a_life_is_told_from_its_start_to_its_end(house: House):
    """Loading, ready with counters, ended: all of one epoch, at times that differ even if the clock stands still."""
    await house.open_ledger()
    await house.start()
    await until(lambda: "ready" in house.states())
    await house.stop()
    assert house.states()[0] == "loading"
    assert house.states()[-1] == "ended"
    assert {sample.epoch for sample in house.samples() if sample.state != "loading"} == {house.engine.epoch}
    (ready,) = (sample for sample in house.samples() if sample.state == "ready")
    assert (ready.in_flight, ready.prompt_tokens, ready.output_tokens) == (0, 0, 0)
    assert [sample.at_ms for sample in house.samples()] == [1_000 + n for n in range(len(house.samples()))]


async def test_a_replica_is_told_before_it_has_an_engine(house: House):
    """Its accelerators are rented while weights are fetched."""
    await house.open_ledger()
    house.witness.start()
    await until(house.states)
    assert house.last("state", "epoch", "in_flight") == ("loading", "", None)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pipes of the server that died
async def test_an_engine_that_is_started_again_is_a_new_epoch(running: House):
    """Its counters begin anew, and so does its cold start."""
    before = running.engine.epoch
    running.count(0, 10, 5)
    supervisor = asyncio.create_task(running.engine.supervise(lambda: False))
    for pid in descendants(running.engine._process.pid):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: running.states().count("ready") == 2)
    supervisor.cancel()
    assert running.engine.epoch != before
    life = [sample.state for sample in running.samples() if sample.epoch == running.engine.epoch]
    assert life == ["loading", "ready"]
    assert running.last("prompt_tokens", "output_tokens") == (10, 5)


async def test_when_the_last_slot_is_over_a_sample_is_taken(running: House):
    """It has the most slots that were held at once, and the counters of an engine at rest; the next begins at none."""
    with running.witness.slot():
        with running.witness.slot(), running.witness.slot():
            pass
        running.count(0, 2_392, 300)
    await until(lambda: running.states().count("ready") == 2)
    assert running.last("slots_held", "in_flight", "prompt_tokens", "output_tokens") == (3, 0, 2_392, 300)
    running.witness.look_soon()
    await until(lambda: running.states().count("ready") == 3)
    assert running.last("slots_held") == (0,)


async def test_a_slot_that_goes_on_is_held_in_every_sample(running: House):
    """However many samples are taken meanwhile."""
    with running.witness.slot():
        for _ in range(2):
            await running.witness.look()
        await until(lambda: running.states().count("ready") == 3)
        assert [sample.slots_held for sample in running.samples()[-2:]] == [1, 1]


async def test_a_slot_is_held_a_moment_longer(running: House):
    """The engine has that long to stop what was cancelled."""
    running.witness._rhythm = replace(RHYTHM, slot_over_s=1000.0)
    with running.witness.slot():
        pass
    for _ in range(2):
        await running.witness.look()
    await until(lambda: running.states().count("ready") == 3)
    assert running.last("slots_held") == (1,)


async def test_samples_are_taken_regularly(house: House):
    """Without anything happening."""
    house.witness._rhythm = replace(RHYTHM, every_s=0.01)
    await house.open_ledger()
    await house.start()
    await until(lambda: house.states().count("ready") > 3)


async def test_an_engine_without_counters_is_sampled_all_the_same(running: House):
    """Its rent goes on; what it did is unwitnessed."""
    running.counters.unlink()
    running.witness.look_soon()
    await until(lambda: running.states().count("ready") == 2)
    assert running.last("in_flight", "prompt_tokens", "output_tokens") == (None, None, None)


async def test_samples_wait_for_the_ledger(house: House):
    """Nothing of a replica's life is lost while there is none, and nothing waits for it."""
    await house.start()
    with house.witness.slot():
        pass
    await house.witness.look()
    assert house.states() == []
    assert house.client.unacknowledged == 1  # what the client has taken over cannot be dropped: one at a time
    await house.open_ledger()
    await until(lambda: house.states()[:1] == ["loading"] and house.states()[-1] == "ready")


async def test_of_too_many_samples_the_oldest_are_dropped(house: House, monkeypatch: pytest.MonkeyPatch):
    """A ledger that never comes back does not fill the replica's memory."""
    monkeypatch.setattr("deployments.engines.witness.SAMPLES_WAITING_MAX", 3)
    witness = Witness(OCCUPANT, house.client, lambda: 1_000, RHYTHM)
    for _ in range(10):
        await witness.look()
    await house.open_ledger()
    house.client.start()
    await witness.close()
    assert [sample.at_ms for sample in house.samples()] == [1_008, 1_009, 1_010]


async def test_closing_has_an_end_without_a_ledger(house: House):
    """A replica is not kept by a ledger that is gone."""
    house.witness._rhythm = replace(RHYTHM, close_s=0.0)
    await house.start()
    async with asyncio.timeout(10):
        await house.stop()


@pytest.mark.parametrize(
    ("exposition", "counters"),
    [
        (VLLM, Counters(in_flight=7, prompt_tokens=1_234_570, output_tokens=30)),
        ("", UNREAD),
        (LMDEPLOY, Counters(in_flight=3, prompt_tokens=3_356, output_tokens=31)),
        ("other:prompt_tokens_total 1\n", UNREAD),
        ("vllm:num_requests_running 3\n", Counters(in_flight=3)),
    ],
)
def test_counters_are_read_from_an_exposition(exposition: str, counters: Counters):
    """Summed over the cores of an engine; a request that waits in it is in flight as well."""
    assert counters_of(exposition) == counters


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<html>"),
        (200, "vllm:prompt_tokens_total +Inf"),
        (200, b"\xff\xfe"),
        (404, "no"),
        (500, VLLM),
        (200, None),
    ],
)
async def test_what_cannot_be_read_is_none(status: int, body: str | bytes | None):
    """Nonsense, an error, no answer in time: a witness that does not know says so."""
    over = asyncio.Event()

    async def metrics(request: web.Request) -> web.Response:
        if body is None:
            await over.wait()
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert await read_counters(f"http://127.0.0.1:{runner.addresses[0][1]}", 0.2 if body is None else 10.0) == UNREAD
    over.set()
    await runner.cleanup()


async def test_an_engine_that_is_not_there_says_nothing():
    """Port 9 is nobody's."""
    assert await read_counters("http://127.0.0.1:9", 5.0) == UNREAD
