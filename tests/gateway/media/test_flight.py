import asyncio
from contextlib import suppress

import pytest

from deployments.gateway.media.flight import SingleFlight


class Work:
    """Goes on until it is released."""

    def __init__(self) -> None:
        self.begun = 0
        self.stopped = False
        self.release = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise
        return self.begun


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_wait_share_one_result():
    """And the next to come begins anew."""
    flights, work = SingleFlight[str, int](), Work()
    waiting = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    await settle()
    work.release.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert await flights.join("a", work) == 2


async def test_different_keys_do_not_wait_for_each_other():
    """Each has its own flight."""
    flights, stuck, quick = SingleFlight[str, int](), Work(), Work()
    waiting = asyncio.create_task(flights.join("a", stuck))
    quick.release.set()
    assert await flights.join("b", quick) == 1
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting


async def test_one_who_leaves_does_not_stop_it_for_the_others():
    """The work belongs to all who wait."""
    flights, work = SingleFlight[str, int](), Work()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.release.set()
    assert await second == 1
    assert not work.stopped


async def test_it_stops_when_the_last_has_left():
    """Nobody wants it; who comes later begins anew."""
    flights, work = SingleFlight[str, int](), Work()
    only = asyncio.create_task(flights.join("a", work))
    await settle()
    only.cancel()
    await settle()
    assert work.stopped
    work.release.set()
    assert await flights.join("a", work) == 2


async def test_a_failure_is_everybodys():
    """And is not kept."""
    flights = SingleFlight[str, int]()

    async def fails() -> int:
        await asyncio.sleep(0)
        raise ValueError

    both = await asyncio.gather(flights.join("a", fails), flights.join("a", fails), return_exceptions=True)
    assert [type(error) for error in both] == [ValueError, ValueError]
    with pytest.raises(ValueError):
        await flights.join("a", fails)
