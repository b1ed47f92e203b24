"""The two gates, and what happens while the ledger is away."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from accounting.command import Command, Hold, Outcome, Post, Result
from accounting.price import Work
from accounting.sqlite import SqliteStore
from deployments.gateway import bill as bills
from deployments.gateway.bill import Bill, Usage
from tests.gateway.client import Client
from tests.gateway.engine_server import CONTENT_CHUNKS, TEXT_TOKENS, VISION_TOKENS, WORDS
from tests.gateway.house import NOW_MS, PRICE, House, charge_nano, question, running_house

STREAM = {"stream": True, "stream_options": {"include_usage": True}}
WAIT_S = 10.0  # never reached: these waits end by an event


def slow(kind: type[Command]) -> type["SlowStore"]:
    """A store that begins commands of this kind, and finishes them when `opened` is set."""

    class Slow(SlowStore):
        waits_for = kind
        begun = threading.Event()
        opened = threading.Event()

    return Slow


class SlowStore:
    waits_for: type[Command]
    begun: threading.Event
    opened: threading.Event

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.keys, self.snapshot, self.sweep = store.keys, store.snapshot, store.sweep

    def apply(self, commands: Sequence[Command]) -> list[Result]:
        if any(isinstance(command, self.waits_for) for command in commands):
            self.begun.set()
            assert self.opened.wait(WAIT_S)
        return self._store.apply(commands)


@asynccontextmanager
async def slow_house(folder: Path, kind: type[Command]):
    store = slow(kind)
    async with running_house(folder, wrap=store) as house:
        try:
            yield house, store
        finally:
            store.opened.set()


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_nothing_leaves_before_the_hold_is_durable(tmp_path: Path, fields: dict[str, object]):
    """Neither a byte to the client nor a request to the engine; then all goes on as usual."""
    async with slow_house(tmp_path, Hold) as (house, store):
        client = Client(question(**fields), house.key)
        asking = asyncio.create_task(client.ask(house.app))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert client.sent == house.engine.asked == []
        store.opened.set()
        await asking
        assert client.status == 200


async def test_a_whole_answer_waits_for_its_charge(tmp_path: Path):
    """Not even its status is sent before."""
    async with slow_house(tmp_path, Post) as (house, store):
        client = Client(question(), house.key)
        asking = asyncio.create_task(client.ask(house.app))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert client.sent == []
        store.opened.set()
        await asking
        assert client.complete


async def test_the_end_of_a_stream_waits_for_its_charge(tmp_path: Path):
    """The content is sent as it comes; the usage and [DONE] mean that it is charged."""
    async with slow_house(tmp_path, Post) as (house, store):
        client = Client(question(**STREAM), house.key)
        asking = asyncio.create_task(client.ask(house.app))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert len(client.events) == CONTENT_CHUNKS
        store.opened.set()
        await asking
        assert client.events[-1] == "[DONE]"


async def test_a_charge_that_takes_too_long_is_made_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The answer is delivered all the same; the ledger client goes on until it is stored."""
    monkeypatch.setattr(bills, "POST_ACK_S", 0.05)
    async with slow_house(tmp_path, Post) as (house, store):
        assert (await house.ask(question())).status == 200
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (charge_nano(len(WORDS)), Outcome.COMPLETE)


async def test_a_hold_that_takes_too_long_is_our_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """503, and the hold is void as soon as it is there."""
    monkeypatch.setattr(bills, "HOLD_ACK_S", 0.05)
    async with slow_house(tmp_path, Hold) as (house, store):
        client = await house.ask(question())
        assert (client.status, client.error["code"], client.headers["retry-after"]) == (503, "ledger_unavailable", "1")
        assert house.engine.asked == []
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.LEDGER_FAILED)


async def test_while_the_ledger_is_away_nothing_runs(house: House):
    """A working key is told 503, never 401, and the engine is not asked."""
    await house.ledger.close(0)
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "ledger_unavailable")
    assert house.engine.asked == []
    assert house.metrics.errors == [503]


async def test_a_client_that_leaves_before_the_hold_is_durable_pays_nothing(tmp_path: Path):
    """The hold that it leaves behind is voided."""
    async with slow_house(tmp_path, Hold) as (house, store):
        client = Client(question(), house.key)
        asking = asyncio.create_task(client.ask(house.app))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        client.leave()
        await asking
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.CLIENT_LEFT_EARLY)


async def opened(house: House, clock_s: Callable[[], float] = lambda: 0.0) -> Bill:
    """A bill for one image and at most 600 output tokens, its hold durable."""
    hold = Hold(
        "request", "gw_1", "key", PRICE.model, PRICE.version, "default", (1,), 1, ("credit:org",), 60_000, "sha", NOW_MS
    )
    bill = Bill(house.ledger, hold, PRICE, Work((VISION_TOKENS,), 300, 600), clock_s)
    await bill.durable()
    return bill


@pytest.mark.parametrize(
    ("output_tokens", "amount_nano"),
    [
        (0, 10_030),  # 1 * 10,000 + 30 * 1
        (100, 16_030),  # + 100 * 60
        (513, 50_810),  # 2 * 10,000 + 30 + 513 * 60
        (600, 56_030),  # 2 * 10,000 + 30 + 600 * 60
        (10_000, 60_000),  # the hold
    ],
)
async def test_a_charge_never_exceeds_the_hold(house: House, output_tokens: int, amount_nano: int):
    """What an engine does beyond the hold is ours to bear."""
    bill = await opened(house)
    bill.usage = Usage(VISION_TOKENS + TEXT_TOKENS, output_tokens)
    assert bill.charge().amount_nano == amount_nano


async def test_a_bill_ends_once(house: House):
    """Whatever is tried after its end changes nothing."""
    bill = await opened(house)
    bill.usage = Usage(VISION_TOKENS + TEXT_TOKENS, 3)
    await bill.post(Outcome.COMPLETE)
    bill.client_left(saw_output=True)
    bill.void(Outcome.ENGINE_FAILED)
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (charge_nano(3), Outcome.COMPLETE)


async def test_times_are_measured_from_the_request(house: House):
    """The first chunk sets the time to it; later ones do not move it."""
    seconds = iter([10.0, 10.25, 11.5])
    bill = await opened(house, lambda: next(seconds))
    bill.first_chunk()
    bill.first_chunk()
    await bill.post(Outcome.COMPLETE)
    (row,) = await house.usage()
    assert (row["ttft_ms"], row["latency_ms"]) == (250, 1500)
