"""Executions that several requests read; the engine is a queue of parts that a test fills."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from deployments.gateway.coalesce import Coalescer, Key, Lead
from deployments.gateway.engine import EngineBrokeOff

KEY: Key = ("org", "project", "default", b"{}")


class Engine:
    """`parts` are told as they come; None ends the answer, an exception breaks it off."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
        self.runs = 0
        self.running = 0

    @asynccontextmanager
    async def run(self, lead: Lead) -> AsyncIterator["Engine"]:
        self.runs += 1
        self.running += 1
        try:
            lead("replica-1")
            yield self
        finally:
            self.running -= 1

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        while part := await self.parts.get():
            if isinstance(part, Exception):
                raise part
            yield part

    async def whole(self) -> dict[str, Any]:
        part = await self.parts.get()
        assert isinstance(part, dict)
        return part

    def says(self, *parts: dict[str, Any] | Exception | None) -> None:
        for part in parts:
            self.parts.put_nowait(part)


class Request:
    """Reads an answer in a task of its own; `led` are the replicas whose slot it was given."""

    def __init__(self, coalescer: Coalescer, engine: Engine, name: str, *, key: Key = KEY, stream: bool = True) -> None:
        self.led: list[str] = []
        self.read: list[dict[str, Any]] = []
        self._coalescer, self._engine, self._name, self._key, self._stream = coalescer, engine, name, key, stream
        self.task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        answer = self._coalescer.answer(self._key, self._name, self.led.append, self._engine.run, stream=self._stream)
        async with answer as reader:
            if not self._stream:
                self.read.append(await reader.whole())
                return
            async for chunk in reader.chunks():
                self.read.append(chunk)


async def turns() -> None:
    """Let everything happen that is ready to."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def coalescer() -> Coalescer:
    return Coalescer()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_identical_requests_are_one_of_the_engine(coalescer: Coalescer, engine: Engine, stream: bool):
    requests = [Request(coalescer, engine, str(i), stream=stream) for i in range(100)]
    await turns()
    engine.says({"text": "red"}, None)
    await asyncio.gather(*(request.task for request in requests))
    assert engine.runs == 1
    assert [request.read for request in requests] == [[{"text": "red", "id": f"chatcmpl-{i}"}] for i in range(100)]


async def test_one_that_comes_later_is_told_the_answer_from_its_beginning(coalescer: Coalescer, engine: Engine):
    first = Request(coalescer, engine, "1")
    engine.says({"n": 1}, {"n": 2})
    await turns()
    second = Request(coalescer, engine, "2")
    await turns()
    assert [part["n"] for part in second.read] == [1, 2]
    engine.says({"n": 3}, None)
    await asyncio.gather(first.task, second.task)
    assert [[part["n"] for part in request.read] for request in (first, second)] == [[1, 2, 3]] * 2


async def test_one_that_comes_after_the_end_is_an_execution_of_its_own(coalescer: Coalescer, engine: Engine):
    """This is no cache."""
    for name in ("1", "2"):
        engine.says({"n": 1}, None)
        await Request(coalescer, engine, name).task
    assert engine.runs == 2
    assert not coalescer.runs(KEY)


async def test_others_do_not_share(coalescer: Coalescer, engine: Engine):
    """Another project, for example."""
    requests = [Request(coalescer, engine, "1"), Request(coalescer, engine, "2", key=("org", "b", "default", b"{}"))]
    await turns()
    engine.says(None, None)
    await asyncio.gather(*(request.task for request in requests))
    assert engine.runs == 2


async def test_the_first_one_leaves_and_the_others_are_answered(coalescer: Coalescer, engine: Engine):
    """The slot is the next one's from then on."""
    first, second = Request(coalescer, engine, "1"), Request(coalescer, engine, "2")
    await turns()
    assert (first.led, second.led) == (["replica-1"], [])
    first.task.cancel()
    await turns()
    assert (engine.running, second.led) == (1, ["replica-1"])
    engine.says({"n": 1}, None)
    await second.task
    assert [part["n"] for part in second.read] == [1]


async def test_when_all_have_left_the_engine_stops(coalescer: Coalescer, engine: Engine):
    requests = [Request(coalescer, engine, str(i)) for i in range(3)]
    await turns()
    for request in requests:
        request.task.cancel()
    await asyncio.gather(*(request.task for request in requests), return_exceptions=True)
    assert engine.running == 0
    assert not coalescer.runs(KEY)


async def test_a_failure_is_told_to_each(coalescer: Coalescer, engine: Engine):
    """After what had come before it."""
    requests = [Request(coalescer, engine, str(i)) for i in range(3)]
    await turns()
    engine.says({"n": 1}, EngineBrokeOff())
    ends = await asyncio.gather(*(request.task for request in requests), return_exceptions=True)
    assert [type(end) for end in ends] == [EngineBrokeOff] * 3
    assert [len(request.read) for request in requests] == [1] * 3
