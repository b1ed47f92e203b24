"""The writer's socket: a line in, a line out, answered once durable.

Why not a Ray call for each hold and post: on two busy cores a handle call costs one to two milliseconds of CPU, a line
on a kept connection a few hundredths.
"""

import asyncio
import hmac
from typing import Any

import orjson

from accounting import wire
from accounting.command import Reply, Result
from accounting.group_commit import GroupCommit
from accounting.store import Store, StoreError
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
        self._server = await asyncio.start_server(self._connected, host, 0, limit=wire.LINE_BYTES_MAX)
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
            if not self._knows_us(await reader.readline()):
                return
            self._connections.add(writer)
            while line := await reader.readline():
                self._answer(orjson.loads(line), writer)
        except (ConnectionError, ValueError, LookupError, TypeError) as error:
            # What is not a line of ours ends the connection, and nothing else.
            logger.warning("a ledger connection ended: %s", type(error).__name__)
        finally:
            self._connections.discard(writer)
            writer.close()

    def _knows_us(self, hello: bytes) -> bool:
        return hmac.compare_digest(str(orjson.loads(hello)["token"]).encode(), self._token.encode())

    def _answer(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        number = message["id"]
        future: asyncio.Future[Any]
        try:
            if "ask" in message:
                arguments = wire.decode_arguments(message["ask"], message["with"])
                # Beside the commits: a long answer keeps no payment waiting.
                question = getattr(self._store, message["ask"])
                future = asyncio.ensure_future(asyncio.to_thread(question, *arguments))
            else:
                future = self.commits.submit(wire.decode_command(message["do"], message["with"]))
        except wire.NotOfThisLedger:
            writer.write(_not_understood(number, message))
            return
        future.add_done_callback(lambda done: _reply(number, done, writer))


def _not_understood(number: int, message: dict[str, Any]) -> bytes:
    """A final answer: sent again, the line would stand in the way of everything behind it."""
    if "ask" in message:
        return wire.encode_failure(number, "no question that this ledger's writer knows; upgrade it")
    return wire.encode_answer(number, Reply(Result.INVALID))


def _reply(number: int, done: asyncio.Future[Any], writer: asyncio.StreamWriter) -> None:
    if done.cancelled() or writer.is_closing():
        return
    error = done.exception()
    if error is None:
        writer.write(wire.encode_answer(number, done.result()))
        return
    logger.error("ledger: %s", error)
    writer.write(wire.encode_failure(number, str(error)))
