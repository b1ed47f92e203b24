"""How long an event loop stood still."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_S = 0.002


class Pauses:
    """The longest pause so far, in seconds of this process's own CPU time.

    Work of the loop, and of a thread that holds the interpreter's lock, takes that time while the loop stands still; being
    one of many processes on a busy machine does not. So a pause is the less of what the clock and the CPU say.
    """

    longest_s = 0.0

    async def watch(self) -> None:
        clock_s, cpu_s = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(TICK_S)
            before = clock_s, cpu_s
            clock_s, cpu_s = time.monotonic(), time.process_time()
            self.longest_s = max(self.longest_s, min(clock_s - before[0], cpu_s - before[1]))


@asynccontextmanager
async def pauses() -> AsyncIterator[Pauses]:
    """Watch the loop while the block runs. What was there before is not looked through by Python's collector meanwhile, as in
    a gateway: a test's process has loaded far more.
    """
    gc.collect()
    gc.freeze()
    seen = Pauses()
    watching = asyncio.create_task(seen.watch())
    await asyncio.sleep(0)
    try:
        yield seen
    finally:
        await asyncio.sleep(2 * TICK_S)
        watching.cancel()
        gc.unfreeze()
