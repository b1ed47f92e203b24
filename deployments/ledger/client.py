"""A gateway's connection to the ledger's writer. It owns every command until the writer has acknowledged it.

So a settle outlives the request that caused it: a lost connection or a restarted writer only means that unacknowledged
commands are sent again, which is harmless because every command is safe to repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import orjson

from accounting import wire
from accounting.command import Command, Result
from accounting.key import KeyRecord
from accounting.store import Snapshot
from deployments.log import logger_for

logger = logger_for(__name__)

RECONNECT_AFTER_S = 0.2
RETRY_AFTER_S = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the writer listens, and the token that opens it."""

    host: str
    port: int
    token: str


Locate = Callable[[], Awaitable[Address]]


@dataclass(frozen=True, slots=True)
class _Sent:
    line: bytes
    future: asyncio.Future[Any]
    decode: Callable[[Any], Any]


class LedgerClient:
    """`locate` is asked for the writer's address before every connection: a restarted writer has a new one."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._numbers = count(1)
        self._unacknowledged: dict[int, _Sent] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    @property
    def unacknowledged(self) -> int:
        """Commands and questions that wait for the writer."""
        return len(self._unacknowledged)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_connected())

    async def close(self, patience_s: float) -> None:
        """Wait until everything is acknowledged, at most `patience_s`; then hang up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def submit(self, command: Command) -> asyncio.Future[Result]:
        """Send a command. The future holds its result once it is durable; cancelling the future does not unsend it."""
        number = next(self._numbers)
        return self._send(number, wire.encode_command(number, command), Result)

    async def keys(self) -> list[KeyRecord]:
        number = next(self._numbers)
        return await self._send(number, wire.encode_question(number, "keys"), wire.decode_keys)

    async def snapshot(self) -> Snapshot:
        number = next(self._numbers)
        return await self._send(number, wire.encode_question(number, "snapshot"), wire.decode_snapshot)

    def _send(self, number: int, line: bytes, decode: Callable[[Any], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._unacknowledged[number] = _Sent(line, future, decode)
        self._idle.clear()
        if self._writer:
            self._writer.write(line)
        return future

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._talk(await self._locate())
            except Exception as error:  # noqa: BLE001  # whatever ends a connection, only a new one can settle
                logger.warning("no connection to the ledger: %s: %s", type(error).__name__, error)
            finally:
                self._writer = None
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _talk(self, address: Address) -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=wire.LINE_BYTES_MAX)
        try:
            writer.write(wire.encode_hello(address.token))
            for sent in self._unacknowledged.values():
                writer.write(sent.line)
            self._writer = writer
            while line := await reader.readline():
                self._acknowledge(orjson.loads(line))
        finally:
            writer.close()

    def _acknowledge(self, message: dict[str, Any]) -> None:
        number = message["id"]
        if "failure" in message:
            # The store could not do it now (a full disk, say): the command stays ours, and is sent again.
            asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._send_again, number)
            return
        sent = self._unacknowledged.pop(number, None)
        if not self._unacknowledged:
            self._idle.set()
        if sent and not sent.future.done():  # a command that was sent twice is answered twice
            sent.future.set_result(sent.decode(message["answer"]))

    def _send_again(self, number: int) -> None:
        if self._writer and number in self._unacknowledged:
            self._writer.write(self._unacknowledged[number].line)
