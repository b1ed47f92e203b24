"""Work off the event loop: what takes longer the more bytes there are, and what waits for others."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

from deployments.gateway.media.turns import Turns

# So many are read, hashed and encoded in less than a millisecond, and the parts of such an image are few.
AT_ONCE_BYTES_MAX = 64 * 1024

P = ParamSpec("P")
B = TypeVar("B", str, bytes)
T = TypeVar("T")


class Threads:
    """A few threads, in turns by tenant."""

    def __init__(self, size: int, name: str) -> None:
        self._turns = Turns(size)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, tenant: str, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """`work(...)`. Given up, it keeps its turn until it has ended: a thread cannot be stopped."""
        await self._turns.take(tenant)
        loop = asyncio.get_running_loop()
        job = self._threads.submit(work, *arguments, **named)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._turns.give_back, tenant)

        job.add_done_callback(ended)
        return await asyncio.wrap_future(job)

    async def run_if_large(
        self, tenant: str, work: Callable[Concatenate[B, P], T], data: B, *more: P.args, **named: P.kwargs
    ) -> T:
        """`work(data, ...)`, in a thread where the bytes are many."""
        if len(data) <= AT_ONCE_BYTES_MAX:
            return work(data, *more, **named)
        return await self.run(tenant, work, data, *more, **named)
