"""A gateway's connection to the ledger's writer. It owns every command until the writer has acknowledged it.

So a settle outlives the request that caused it: a lost connection or a restarted writer only means that unacknowledged
commands are sent again, which is harmless because every command is safe to repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson

from accounting import wire
from accounting.command import Command, Reply
from deployments.log import logger_for

logger = logger_for(__name__)

RECONNECT_AFTER_S = 0.2
RETRY_AFTER_S = 0.5


class NoAnswer(Exception):
    """The ledger's store could not answer a question."""


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
    is_question: bool


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

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        """Send a command. The future holds its reply once it is durable; cancelling the future does not unsend it."""
        number = next(self._numbers)
        return self._send(number, _Sent(wire.encode_command(number, command), _future(), is_question=False))

    async def ask(self, about: str, *arguments: object) -> Any:
        """Ask what the method `about` of `accounting.store.Store` answers. Raises `NoAnswer`."""
        number = next(self._numbers)
        line = wire.encode_question(number, about, *arguments)
        answer = await self._send(number, _Sent(line, _future(), is_question=True))
        try:
            return wire.decode_answer(about, answer)
        except wire.NotOfThisLedger as error:
            raise NoAnswer("the ledger's writer is of another version") from error

    def _send(self, number: int, sent: _Sent) -> asyncio.Future[Any]:
        self._unacknowledged[number] = sent
        self._idle.clear()
        if self._writer:
            self._writer.write(sent.line)
        return sent.future

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
        sent = self._unacknowledged.get(number)
        failure = message.get("failure")
        if sent is None:  # what was sent twice is answered twice
            return
        if failure is not None and not sent.is_question:
            # The store could not do it now (a full disk, say): the command stays ours, and is sent again.
            asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._send_again, number)
            return
        # A reply that cannot be read ends the connection here: that command stays ours, too.
        answer = message.get("answer") if sent.is_question else wire.decode_reply(message["answer"])
        del self._unacknowledged[number]
        if failure is not None and not sent.future.cancelled():
            sent.future.set_exception(NoAnswer(failure))
        elif not sent.future.cancelled():
            sent.future.set_result(answer)
        # After those who wait for this answer: they may have more to send.
        asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        if not self._unacknowledged:
            self._idle.set()

    def _send_again(self, number: int) -> None:
        if self._writer and number in self._unacknowledged:
            self._writer.write(self._unacknowledged[number].line)


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()
