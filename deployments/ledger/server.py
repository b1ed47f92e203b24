"""The writer's socket: a line in, a line out, answered once durable.

Why not a Ray call for each hold and post: on two busy cores a handle call costs one to two milliseconds of CPU, a line
on a kept connection a few hundredths.
"""

import asyncio
import hmac
from typing import Any

import orjson

from accounting import wire
from accounting.group_commit import GroupCommit
from accounting.questions import Question
from accounting.store import Store, StoreError
from deployments.ledger.lines import CHUNK_BYTES, TooLong, lines_of
from deployments.log import logger_for

logger = logger_for(__name__)

SWEEP_EVERY_S = 1.0


class LedgerServer:
    """Serves one store to every gateway that knows the token."""

    def __init__(self, store: Store, token: str) -> None:
        self.commits = GroupCommit(store)
        self._store = store
        self._token = token
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self, host: str) -> int:
        """Listen on a free port of `host` and return it."""
        self._tasks = [
            asyncio.create_task(self.commits.run(), name="committer"),
            asyncio.create_task(self._sweep(), name="sweeper"),
        ]
        self._server = await asyncio.start_server(self._connected, host, 0, limit=CHUNK_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Hang up, and return when the commit in flight is done: the store may be closed then."""
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.commits.close)

    def check(self) -> None:
        """Raise `RuntimeError` if a part has ended that must not."""
        for task in self._tasks:
            if task.done():
                raise RuntimeError(f"the ledger's {task.get_name()} has ended") from task.exception()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            try:
                voided = await self.commits.ask(lambda store: store.sweep())
            except StoreError as error:
                logger.error("sweep failed: %s", error)
            else:
                if voided:
                    logger.warning("voided %d expired holds: their gateways did not settle them", voided)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = lines_of(reader, wire.COMMAND_BYTES_MAX)
            if not self._knows_us(await anext(lines, b"")):
                return
            self._connections.add(writer)
            async for line in lines:
                self._answer(line, writer)
        except (ConnectionError, ValueError, LookupError, TypeError) as error:
            # What is not a line of ours ends the connection, and nothing else.
            logger.warning("a ledger connection ended: %s", type(error).__name__)
        finally:
            self._connections.discard(writer)
            writer.close()

    def _knows_us(self, hello: bytes | TooLong) -> bool:
        token = "" if isinstance(hello, TooLong) else str(orjson.loads(hello)["token"])
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _answer(self, line: bytes | TooLong, writer: asyncio.StreamWriter) -> None:
        """Every line of ours is answered. Raises `ValueError` for any other."""
        heading = wire.heading_of(line.head if isinstance(line, TooLong) else line)
        if heading is None:
            raise ValueError("a line without a number")
        number, is_question = heading
        future: asyncio.Future[Any]
        try:
            asked = None if isinstance(line, TooLong) else wire.decode(line)
        except wire.NotOfThisLedger:
            asked = None
        match asked:
            case None:
                writer.write(wire.encode_refusal(number, is_question=is_question))
                return
            case Question() | wire.Page():
                # Beside the commits: a long answer keeps no payment waiting.
                future = asyncio.ensure_future(asyncio.to_thread(self._said, number, asked))
            case _:
                future = self.commits.submit(asked)
        future.add_done_callback(lambda done: _reply(number, done, writer))

    def _said(self, number: int, asked: Question[Any] | wire.Page) -> bytes:
        if isinstance(asked, wire.Page):
            return self._page(number, asked)
        return wire.encode_answer(number, asked.ask(self._store))

    def _page(self, number: int, asked: wire.Page) -> bytes:
        """Rows that are long make a page of fewer."""
        rows_max = asked.rows_max
        while True:
            rows = asked.listing.page(self._store, asked.after, rows_max)
            page = wire.encode_page(number, rows, more=len(rows) == rows_max)
            if len(page) <= (wire.PAGE_BYTES_MAX if rows_max > 1 else wire.ANSWER_BYTES_MAX):
                return page
            if rows_max == 1:
                return wire.encode_failure(number, "a row is too long to be sent")
            rows_max //= 2


def _reply(number: int, done: asyncio.Future[Any], writer: asyncio.StreamWriter) -> None:
    if done.cancelled() or writer.is_closing():
        return
    error = done.exception()
    if error is None:
        told = done.result()
        writer.write(told if isinstance(told, bytes) else wire.encode_answer(number, told))
        return
    logger.error("ledger: %s", error)
    writer.write(wire.encode_failure(number, str(error)))
