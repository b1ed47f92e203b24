"""Group commit: what arrives while a transaction commits makes up the next one, so one fsync serves many requests."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from accounting.command import Command, Reply
from accounting.failpoint import failpoint
from accounting.store import Store, StoreError

BATCH_MAX = 256

T = TypeVar("T")


class GroupCommit:
    """The one user of a store: commands in order of arrival, in batches, on a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._queue: deque[tuple[Command, asyncio.Future[Reply]]] = deque()
        self._arrived = asyncio.Event()

    def submit(self, command: Command) -> asyncio.Future[Reply]:
        """Queue a command. The future holds its reply once that is durable, or `StoreError` if it cannot be."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._queue.append((command, future))
        self._arrived.set()
        return future

    async def ask(self, question: Callable[[Store], T]) -> T:
        """Read from the store between two transactions."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._store)

    async def run(self) -> None:
        """Commit batches until cancelled."""
        while True:
            self._arrived.clear()
            while self._queue:
                await self._commit_next()
            await self._arrived.wait()

    def close(self) -> None:
        """Wait for the transaction in flight. What is still queued was never acknowledged."""
        self._thread.shutdown()

    async def _commit_next(self) -> None:
        batch = [self._queue[i] for i in range(min(BATCH_MAX, len(self._queue)))]
        commands = [command for command, _ in batch]
        outcomes = await self.ask(lambda store: apply_each(store, commands))
        failpoint("writer.committed")
        # Only now: a queue that is emptied before the commit loses what a crash interrupts.
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            self._queue.popleft()
            if future.done():
                continue
            if isinstance(outcome, StoreError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def apply_each(store: Store, commands: Sequence[Command]) -> list[Reply | StoreError]:
    """Apply a batch; if it fails as a whole, apply its halves, so that one bad command harms no other, and costs a batch of
    256 no more than 16 transactions.
    """
    try:
        return list(store.apply(commands))
    except StoreError as error:
        if len(commands) == 1:
            return [error]
        middle = len(commands) // 2
        return [*apply_each(store, commands[:middle]), *apply_each(store, commands[middle:])]
