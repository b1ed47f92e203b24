"""Decoding off the event loop, with a bound on the pixels that are decoded at once: they are what takes the memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

THREADS = 2


class PixelBudget:
    """A weighted semaphore, first come, first served."""

    def __init__(self, pixels_max: int) -> None:
        self._pixels_max = pixels_max
        self._free = pixels_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, pixels: int) -> int:
        """Wait for so many, or for all where that is more than all. Returns what is to be given back."""
        pixels = min(pixels, self._pixels_max)
        if not self._waiting and pixels <= self._free:
            self._free -= pixels
            return pixels
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(pixels)  # its turn came at the very moment that it was given up
            else:
                self._waiting.remove((pixels, turn))
                self._call()
            raise
        return pixels

    def give_back(self, pixels: int) -> None:
        self._free += pixels
        self._call()

    def _call(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            pixels, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._free -= pixels
                turn.set_result(None)


class Decoders:
    """A few threads, and a bound on what they hold."""

    def __init__(self, pixels_max: int) -> None:
        self._budget = PixelBudget(pixels_max)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")

    async def run(self, pixels: int, work: Callable[..., T], *arguments: object) -> T:
        """`work(*arguments)` in a thread, once so many pixels are free. Given up, it keeps them until it has ended."""
        taken = await self._budget.take(pixels)
        loop = asyncio.get_running_loop()
        job = self._threads.submit(work, *arguments)
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._budget.give_back, taken))
        return await asyncio.wrap_future(job)
