import asyncio
import threading
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.media.decoders import Decoders, PixelBudget


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.lists(st.integers(0, 150), max_size=20))
async def test_no_more_pixels_are_out_than_there_are(asked: list[int]):
    """Whoever asks for more than all gets all; everyone's turn comes."""
    budget, out, most, served = PixelBudget(100), 0, 0, 0

    async def use(pixels: int) -> None:
        nonlocal out, most, served
        taken = await budget.take(pixels)
        out += taken
        most = max(most, out)
        await asyncio.sleep(0)
        out -= taken
        served += 1
        budget.give_back(taken)

    await asyncio.gather(*map(use, asked))
    assert most <= 100
    assert served == len(asked)


async def test_a_large_image_is_not_overtaken_for_ever():
    """First come, first served."""
    budget = PixelBudget(100)
    await budget.take(60)
    large, small = asyncio.create_task(budget.take(100)), asyncio.create_task(budget.take(10))
    await settle()
    assert not large.done()
    assert not small.done()
    budget.give_back(60)
    await settle()
    assert large.done()
    assert not small.done()


async def test_one_who_gives_up_makes_room_for_the_next():
    """In the queue, and at the moment of its turn."""
    budget = PixelBudget(100)
    await budget.take(60)
    large, small = asyncio.create_task(budget.take(100)), asyncio.create_task(budget.take(10))
    await settle()
    large.cancel()
    await settle()
    assert small.done()
    late = asyncio.create_task(budget.take(100))
    await settle()
    budget.give_back(70)
    late.cancel()
    await settle()
    assert await budget.take(100) == 100


async def test_pixels_are_taken_until_their_thread_has_ended():
    """A request that is given up cannot stop its decoder, so what that holds stays counted."""
    decoders, begun, release = Decoders(100), threading.Event(), threading.Event()

    def decode() -> None:
        begun.set()
        release.wait()

    job = asyncio.create_task(decoders.run(100, decode))
    await asyncio.to_thread(begun.wait)
    job.cancel()
    with suppress(asyncio.CancelledError):
        await job
    next_job = asyncio.create_task(decoders.run(1, int))
    await settle()
    assert not next_job.done()
    release.set()
    assert await next_job == 0


async def test_what_a_decoder_raises_is_raised():
    """And its pixels are free again."""

    def fail() -> None:
        raise ValueError

    decoders = Decoders(100)
    for _ in range(3):
        with pytest.raises(ValueError):
            await decoders.run(100, fail)
