"""A gateway's connection to the ledger's writer. It owns every command until the writer has acknowledged it.

So a settle outlives the request that caused it: a lost connection or a restarted writer only means that unacknowledged
commands are sent again, which is harmless because every command is safe to repeat. No line, neither ours nor the writer's,
ends the connection or stands in the way of another; what is sent again, and for how long, is in `outbox.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any, TypeVar

import orjson

from accounting import wire
from accounting.bounds import unstorable
from accounting.command import Command, FirstByte, Post, Refund, Reply, Result, Void
from accounting.questions import Listing, Question
from accounting.store import Place
from deployments.ledger.backlog import Backlog
from deployments.ledger.lines import CHUNK_BYTES, TooLong, lines_of
from deployments.ledger.outbox import PATIENCE_S, Outbox, Sent
from deployments.log import logger_for

logger = logger_for(__name__)

RECONNECT_AFTER_S = 0.2
# After a connection over which nothing was acknowledged, the next one waits twice as long.
RECONNECT_AFTER_S_MAX = 2.0
RETRY_AFTER_S = 0.5


class NoAnswer(Exception):
    """The ledger's store could not answer a question, or not in time."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the writer listens, and the token that opens it."""

    host: str
    port: int
    token: str


Locate = Callable[[], Awaitable[Address]]

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


class LedgerClient:
    """`locate` is asked for the writer's address before every connection: a restarted writer has a new one."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._numbers = count(1)
        self._outbox = Outbox()
        self._backlog = Backlog(self._send_again)
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._reconnect_after_s = RECONNECT_AFTER_S
        self.connections = 0  # so many times there was a writer: the next may have another ledger

    @property
    def connected(self) -> bool:
        return self._writer is not None

    @property
    def unacknowledged(self) -> int:
        """Commands and questions that wait for the writer."""
        return len(self._outbox)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_connected())

    async def close(self, patience_s: float) -> None:
        """Wait until everything is acknowledged, at most `patience_s`; then hang up."""
        self._backlog.hasten()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while len(self._outbox):  # an answer may have given rise to one more
                    await self._idle.wait()
        self._backlog.clear()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        """Send a command. The future holds its reply once it is durable; cancelling the future does not unsend it.

        INVALID: it can never be sent, perhaps for one of its texts. UNAVAILABLE: too much waits already, or the store failed it for as long as its sender
        waits; it may have taken effect.
        """
        number = next(self._numbers)
        line = _line(number, command)
        if line is None:
            return _replied(Reply(Result.INVALID, blocked_by=unstorable(command)))
        if not self._outbox.has_room(command):
            return _replied(Reply(Result.UNAVAILABLE))
        return self._send(Sent(number, line, _future(), _now_s(), command))

    async def ask(self, question: Question[A]) -> A:
        """The answer of the ledger's store. Raises `NoAnswer`."""
        return await self._asked(question, partial(wire.decode_answer, question))

    async def pages(self, listing: Listing[R], after: Place = ()) -> AsyncIterator[list[R]]:
        """The rows of a long answer behind a place, page by page: between them others have their turn. Raises `NoAnswer`."""
        more = True
        while more:
            page = wire.Page(listing, after, wire.PAGE_ROWS_MAX)
            rows, more = await self._asked(page, partial(wire.decode_page, listing))
            if rows:
                after = listing.place(rows[-1])
                yield rows

    async def _asked(self, asked: Question[Any] | wire.Page, read: Callable[[dict[str, Any]], T]) -> T:
        """The answer, as `read` has it. A question that nobody waits for any more is dropped."""
        number = next(self._numbers)
        sent = Sent(number, wire.encode_question(number, asked), _future(), _now_s())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return read(await self._send(sent))
        except TimeoutError as error:
            raise NoAnswer(f"the ledger's writer has not answered in {PATIENCE_S:.0f} s") from error
        except wire.NotOfThisLedger as error:
            raise NoAnswer("the ledger's writer is of another version") from error
        finally:
            self._outbox.remove(number)
            self._rest_soon()

    def _send(self, sent: Sent) -> asyncio.Future[Any]:
        self._outbox.add(sent)
        self._idle.clear()
        if self._writer:
            self._writer.write(sent.line)
        return sent.future

    def _send_again(self, sent: Sent) -> bool:
        """False: it has ended. Without a connection it is sent with the next one."""
        if self._outbox.get(sent.number) is None:
            return False
        if self._writer:
            self._writer.write(sent.line)
        return True

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._talk(await self._locate())
            except Exception as error:  # noqa: BLE001  # whatever ends a connection, only a new one can settle
                logger.warning("no connection to the ledger: %s: %s", type(error).__name__, error)
            finally:
                self._writer = None
            await asyncio.sleep(self._reconnect_after_s)
            self._reconnect_after_s = min(2 * self._reconnect_after_s, RECONNECT_AFTER_S_MAX)

    async def _talk(self, address: Address) -> None:
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=CHUNK_BYTES)
        try:
            self._backlog.clear()
            writer.write(wire.encode_hello(address.token))
            for sent in self._outbox:
                writer.write(sent.line)
            self._writer = writer
            self.connections += 1
            async for line in lines_of(reader, wire.ANSWER_BYTES_MAX):
                self._hear(line)
        finally:
            writer.close()

    def _hear(self, line: bytes | TooLong) -> None:
        """A line of the writer: the end of a command or question, unless it is answered twice or nobody waits for it."""
        if isinstance(line, TooLong):
            message: dict[str, Any] = {"id": wire.number_of(line.head), "failure": "an answer that is too long"}
        else:
            message = orjson.loads(line)
        sent = self._outbox.get(message["id"])
        if sent is None:
            return
        self._reconnect_after_s = RECONNECT_AFTER_S
        if sent.command is None:
            self._told(sent, message)
        elif "failure" in message:
            self._fail(sent, message["failure"])
        else:
            self._acknowledge(sent, message["answer"])

    def _told(self, sent: Sent, message: dict[str, Any]) -> None:
        """The end of a question: who asked takes it out."""
        if sent.future.done():
            return
        if "failure" in message:
            sent.future.set_exception(NoAnswer(message["failure"]))
        else:
            sent.future.set_result(message)

    def _acknowledge(self, sent: Sent, answer: object) -> None:
        try:
            reply = wire.decode_reply(answer)
        except wire.NotOfThisLedger:
            self._fail(sent, "a reply of another version")
            return
        self._outbox.acknowledge(sent.number)
        self._end(sent, reply)

    def _fail(self, sent: Sent, reason: str) -> None:
        """The store could not do it now (a full disk, say): the command stays ours, and is sent again, unless that has an end."""
        if not self._outbox.fail(sent, _now_s()):
            if sent.is_kept:
                self._backlog.add(sent)
            else:
                asyncio.get_running_loop().call_later(RETRY_AFTER_S, self._send_again, sent)
            return
        self._outbox.remove(sent.number)
        if sent.is_kept:
            logger.error("given up, because the store takes all others: %s: %s", _name(sent.command), reason)
        self._end(sent, Reply(Result.INVALID if sent.is_kept else Result.UNAVAILABLE))

    def _end(self, sent: Sent, reply: Reply) -> None:
        self._backlog.end(sent)
        if not sent.future.cancelled():
            sent.future.set_result(reply)
        self._rest_soon()

    def _rest_soon(self) -> None:
        """After those who wait for this answer: they may have more to send."""
        asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        if not len(self._outbox):
            self._idle.set()


def _line(number: int, command: Command) -> bytes | None:
    """A command as it is sent; None if it cannot be. A charge is sent whatever its answer is: only a repeat of the request
    misses that.
    """
    try:
        return wire.encode_command(number, command)
    except wire.NotOfThisLedger:
        if isinstance(command, Post) and command.response is not None:
            logger.error("request %s: its answer is too long to be kept for its Idempotency-Key", command.request_id)
            return _line(number, replace(command, response=None))
    logger.error("a command that cannot be sent: %s", type(command).__name__)
    return None


def _name(command: Command | None) -> str:
    """What an operator has to know of a command: nothing that a user wrote."""
    match command:
        case Post():
            return f"the charge of {command.charged_nano} nano-dollars for request {command.request_id}"
        case Void() | Refund() | FirstByte():
            return f"{type(command).__name__} of request {command.request_id}"
    return type(command).__name__


def _replied(reply: Reply) -> asyncio.Future[Reply]:
    future = _future()
    future.set_result(reply)
    return future


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
