import asyncio
import threading
from contextlib import suppress

import pytest

from deployments.gateway.media.threads import AT_ONCE_BYTES_MAX, Threads


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_only_large_work_leaves_the_loop():
    """A thread costs more than a small piece of work."""

    def where(data: bytes) -> threading.Thread:
        return threading.current_thread()

    threads = Threads(1, "test")
    assert await threads.run_if_large("a", where, bytes(AT_ONCE_BYTES_MAX)) is threading.main_thread()
    assert await threads.run_if_large("a", where, bytes(AT_ONCE_BYTES_MAX + 1)) is not threading.main_thread()


async def test_a_turn_is_kept_until_the_thread_has_ended():
    """Work that is given up cannot be stopped; another tenant does not wait for it."""
    threads, begun, release = Threads(2, "test"), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait()

    job = asyncio.create_task(threads.run("a", work))
    await asyncio.to_thread(begun.wait)
    job.cancel()
    with suppress(asyncio.CancelledError):
        await job
    waiting = asyncio.create_task(threads.run("a", int))
    assert await threads.run("b", int) == 0
    await settle()
    assert not waiting.done()
    release.set()
    assert await waiting == 0


async def test_what_work_raises_is_raised():
    """And its turn is free again."""

    def fail() -> None:
        raise ValueError

    threads = Threads(1, "test")
    for _ in range(3):
        with pytest.raises(ValueError):
            await threads.run("a", fail)
