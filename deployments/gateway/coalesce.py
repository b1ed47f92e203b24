"""Identical requests in flight share one execution: the engine answers once, and each of them is told, and charged.

Only requests without chance in them, of the same project, tier and mode. The execution belongs to none of them: it is a task
of its own, which ends early when its last reader has left. The one that reads longest occupies its slot in the ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.gateway.answer import completion_id

Key = tuple[str, str, str, bytes]


class Answer(Protocol):
    """An engine's answer as it comes. Read it whole, or chunk by chunk."""

    async def whole(self) -> dict[str, Any]:
        """The answer of a request without streaming. Raises `EngineBrokeOff`."""

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a stream. Raises `EngineBrokeOff` if they end early."""


# A replica's slot was taken; its id.
Lead = Callable[[str], None]
Run = Callable[[Lead], AbstractAsyncContextManager[Answer]]


@dataclass(frozen=True, slots=True)
class Reader:
    """One request's view of a shared execution. `lead` is called if the slot is to be its own."""

    execution: "Execution"
    request_id: str
    lead: Lead

    async def whole(self) -> dict[str, Any]:
        (answer,) = [part async for part in self.chunks()]
        return answer

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """As `Answer.chunks`, under the id of this very request."""
        own = {"id": completion_id(self.request_id)}
        async for part in self.execution.parts():
            yield part | own


class Execution:
    """One request of the engine, and those who read its answer."""

    def __init__(self, run: Run, *, stream: bool) -> None:
        self._parts: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._readers: list[Reader] = []
        self._replica_id: str | None = None
        self.task = asyncio.create_task(self._collect(run, stream=stream))
        self.task.add_done_callback(self._ended)

    def join(self, reader: Reader) -> None:
        self._readers.append(reader)

    async def leave(self, reader: Reader) -> None:
        """The slot passes on to the next reader; with the last one the execution ends."""
        was_leader = self._readers[0] is reader
        self._readers.remove(reader)
        if self.task.done():
            return
        if not self._readers:
            self.task.cancel()
            await asyncio.wait({self.task})
        elif was_leader and self._replica_id:
            self._readers[0].lead(self._replica_id)

    @property
    def is_abandoned(self) -> bool:
        return not self._readers

    async def parts(self) -> AsyncIterator[dict[str, Any]]:
        """All of the answer from its beginning, as it comes. Raises what the execution raised."""
        read = 0
        while True:
            while read < len(self._parts):
                yield self._parts[read]
                read += 1
            if self.task.done():
                self.task.result()
                return
            await self._news.wait()

    async def _collect(self, run: Run, *, stream: bool) -> None:
        async with run(self._slot_taken) as answer:
            if stream:
                async for chunk in answer.chunks():
                    self._add(chunk)
            else:
                self._add(await answer.whole())

    def _slot_taken(self, replica_id: str) -> None:
        self._replica_id = replica_id
        self._readers[0].lead(replica_id)

    def _add(self, part: dict[str, Any]) -> None:
        self._parts.append(part)
        self._news.set()
        self._news.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._news.set()
        if not task.cancelled():
            task.exception()  # each reader is told; with none left, nobody need be


class Coalescer:
    """The shared executions of one gateway."""

    def __init__(self) -> None:
        self._executions: dict[Key, Execution] = {}

    def runs(self, key: Key | None) -> bool:
        """Whether a request of this key would be answered without an execution of its own."""
        return key in self._executions

    @asynccontextmanager
    async def answer(self, key: Key, request_id: str, lead: Lead, run: Run, *, stream: bool) -> AsyncIterator[Reader]:
        """Read the execution of this key; `run` begins it if there is none."""
        execution = self._executions.get(key)
        if execution is None:
            execution = self._executions[key] = Execution(run, stream=stream)
            execution.task.add_done_callback(lambda _: self._forget(key, execution))
        reader = Reader(execution, request_id, lead)
        execution.join(reader)
        try:
            yield reader
        finally:
            leaving = asyncio.ensure_future(execution.leave(reader))
            if execution.is_abandoned:
                self._forget(key, execution)
            await leaving

    def _forget(self, key: Key, execution: Execution) -> None:
        if self._executions.get(key) is execution:
            del self._executions[key]
