import asyncio
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.media.turns import Turns


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


class Room:
    """Workers that take turns, and end when they are told to."""

    def __init__(self, size: int) -> None:
        self._turns = Turns(size)
        self.at_work: list[str] = []

    async def begin(self, tenant: str) -> asyncio.Task[None]:
        worker = asyncio.create_task(self._work(tenant))
        await settle()
        return worker

    async def end(self, *workers: asyncio.Task[None]) -> None:
        for worker in workers:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker
        await settle()

    async def _work(self, tenant: str) -> None:
        async with self._turns.turn(tenant):
            self.at_work.append(tenant)
            try:
                await asyncio.Event().wait()
            finally:
                self.at_work.remove(tenant)


async def test_a_tenant_has_as_many_turns_as_it_leaves():
    """Whoever comes next does not wait, nor the one after that."""
    room = Room(8)
    workers = [await room.begin("a") for _ in range(20)]
    assert room.at_work.count("a") == 4
    for tenant, turns in (("b", 2), ("c", 1), ("d", 1)):
        workers += [await room.begin(tenant) for _ in range(20)]
        assert room.at_work.count(tenant) == turns
    await room.end(*workers)


async def test_the_next_turn_is_that_of_who_has_fewest():
    """However many of another's were there before."""
    room = Room(2)
    first = await room.begin("a")
    second = await room.begin("b")
    waiting = [await room.begin(tenant) for tenant in "aaac"]
    assert room.at_work == ["a", "b"]
    await room.end(second)
    assert room.at_work == ["a", "c"]
    await room.end(first, *waiting)


async def test_tenants_come_one_after_the_other():
    """Where they have as few, in the order in which they waited; a tenant's next is behind all others."""
    turns, order = Turns(1), list[str]()

    async def work(tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(tenant) for tenant in "aaabbc"))
    assert order == ["a", "a", "b", "c", "a", "b"]


async def test_one_who_gives_up_makes_room_for_the_next():
    """In the queue, and at the moment of its turn."""
    turns = Turns(1)
    await turns.take("a")
    given_up, late = asyncio.create_task(turns.take("b")), asyncio.create_task(turns.take("c"))
    await settle()
    given_up.cancel()
    await settle()
    turns.give_back("a")
    late.cancel()
    await settle()
    await asyncio.wait_for(turns.take("d"), 5)


@given(st.integers(1, 5), st.lists(st.sampled_from("abc"), max_size=30))
async def test_no_more_are_out_than_there_are_and_all_come_to_their_turn(size: int, tenants: list[str]):
    """Whoever they are."""
    turns, out, most, served = Turns(size), 0, 0, 0

    async def work(tenant: str) -> None:
        nonlocal out, most, served
        async with turns.turn(tenant):
            out += 1
            most = max(most, out)
            await asyncio.sleep(0)
            out -= 1
            served += 1

    await asyncio.gather(*map(work, tenants))
    assert most <= size
    assert served == len(tenants)
