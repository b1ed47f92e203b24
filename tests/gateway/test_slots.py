"""Slots against a Serve of a few lines: `reserve` gives what a test puts on its shelf, and notes what comes back."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from contextvars import ContextVar

import pytest

from deployments.gateway import slots as module
from deployments.gateway.affinity import ring_of
from deployments.gateway.errors import ModelWarming
from deployments.gateway.slots import ANY, Replica, Reservation, Slots, Wish


class Serve:
    """`free` holds the ids of replicas with a free slot; `held` counts the slots that are out."""

    def __init__(self, *free: str) -> None:
        self.free: asyncio.Queue[str] = asyncio.Queue()
        for replica in free:
            self.free.put_nowait(replica)
        self.held: Counter[str] = Counter()
        self.asked = 0
        self.wanted: list[str] = []
        self.error: ModelWarming | None = None
        self.leases: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def reserve(self, wants: str) -> AsyncIterator[Reservation]:
        self.asked += 1
        self.wanted.append(wants)
        if self.error:
            raise self.error
        replica = await self.free.get()
        self.held[replica] += 1
        self.leases.append(asyncio.get_running_loop().create_future())
        try:
            yield Reservation(Replica(replica, "http://10.0.0.9:1", "t"), self.leases[-1])
        finally:
            self.held[replica] -= 1
            self.free.put_nowait(replica)


def slots_of(serve: Serve, *running: str) -> Slots:
    """`running` are the replicas that Serve has told of."""
    return Slots(serve.reserve, lambda: running)


async def use(slots: Slots, wait_s: float = 1.0, wish: Wish = ANY) -> str:
    """A request that ends well at once. Returns its replica."""
    slot = await slots.take(wait_s, wish)
    with slots.used(slot):
        return slot.replica.id


async def turns() -> None:
    """Let everything happen that is ready to."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_slot_is_reserved_once_for_requests_that_follow_each_other():
    serve = Serve("a")
    slots = slots_of(serve)
    assert [await use(slots) for _ in range(5)] == ["a"] * 5
    assert serve.asked == 1
    assert serve.held.total() == 1


async def test_requests_at_the_same_time_have_slots_of_their_own():
    serve = Serve("a", "b")
    slots = slots_of(serve)
    first, second = await slots.take(1.0), await slots.take(1.0)
    assert first is not second
    assert serve.held == {"a": 1, "b": 1}


async def test_a_slot_that_comes_free_goes_to_the_request_that_waited_longest():
    serve = Serve("a")
    slots = slots_of(serve)
    slot = await slots.take(1.0)
    order: list[int] = []

    async def wait(number: int) -> None:
        await use(slots)
        order.append(number)

    with slots.used(slot):
        waiting = [asyncio.create_task(wait(number)) for number in range(3)]
        await turns()
        assert serve.asked == 4  # every waiting request counts as one in Serve's own queue
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]
    assert serve.held.total() == 1


async def test_of_kept_slots_the_one_on_the_least_used_replica_is_taken():
    serve = Serve("a", "a", "b")
    slots = slots_of(serve)
    for slot in [await slots.take(1.0) for _ in range(3)]:
        with slots.used(slot):
            pass
    with slots.used(first := await slots.take(1.0)):
        second = await slots.take(1.0)
    assert {first.replica.id, second.replica.id} == {"a", "b"}


def key_of(replica: str, *replicas: str) -> str:
    """A key that belongs to this one of these replicas."""
    return next(key for key in map(str, range(1000)) if next(ring_of(replicas).walk(key)) == replica)


KEY_A, KEY_B = key_of("a", "a", "b"), key_of("b", "a", "b")


async def test_a_request_takes_the_kept_slot_on_its_own_replica():
    """Not the one that was used last."""
    serve = Serve("a", "b")
    slots = slots_of(serve, "a", "b")
    for slot in [await slots.take(1.0) for _ in range(2)]:
        with slots.used(slot):
            pass
    wishes = [KEY_A, KEY_B, KEY_A, KEY_A, KEY_B]
    assert [await use(slots, wish=Wish(key)) for key in wishes] == ["a", "b", "a", "a", "b"]
    assert serve.asked == 2


async def test_serve_is_asked_for_a_slot_on_the_requests_own_replica():
    serve = Serve("a", "b")
    slots = slots_of(serve, "a", "b")
    assert [await use(slots, wish=Wish(key)) for key in (KEY_A, KEY_B)] == ["a", "b"]
    assert serve.wanted == ["a", "b"]


async def test_a_slot_is_reserved_outside_of_its_requests_context():
    """Serve keeps a request's id there, and would take two slots asked for in one request for the same call."""
    request, seen = ContextVar("request", default="none"), list[str]()

    class Noting(Serve):
        def reserve(self, wants: str) -> AbstractAsyncContextManager[Reservation]:
            seen.append(request.get())
            return super().reserve(wants)

    request.set("one")
    await use(slots_of(Noting("a")))
    assert seen == ["none"]


async def test_a_busy_replicas_request_goes_to_another():
    """Its work is above 1.25 times the mean, and above that of two such requests."""
    serve = Serve("a", "a", "a", "b")
    slots = slots_of(serve, "a", "b")
    with ExitStack() as busy:
        for _ in range(2):
            busy.enter_context(slots.used(await slots.take(1.0, Wish(KEY_A, tokens=100)), 100))
        await slots.take(1.0, Wish(KEY_A, tokens=100))
    assert serve.wanted == ["a", "a", "b"]


async def test_requests_that_wait_count_as_their_replicas_work():
    """Of ten at once with one image not all crowd one replica."""
    serve = Serve()
    slots = slots_of(serve, "a", "b")
    waiting = [asyncio.create_task(use(slots, wish=Wish(KEY_A, tokens=100))) for _ in range(10)]
    await turns()
    assert 5 <= serve.wanted.count("a") <= 7
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_request_whose_replica_has_no_slot_takes_another_after_a_moment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHOOSY_S", 0.001)
    serve = Serve("b")
    assert await use(slots_of(serve, "a", "b"), wish=Wish(KEY_A)) == "b"


async def test_a_second_try_avoids_the_replica_of_the_first():
    serve = Serve("b")
    assert await use(slots_of(serve, "a", "b"), wish=Wish(KEY_A, avoid="a")) == "b"
    assert serve.wanted == ["b"]


async def test_an_idle_slot_is_given_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "IDLE_MAX_S", 0.0)
    serve = Serve("a")
    slots = slots_of(serve)
    await use(slots)
    await asyncio.sleep(0.001)
    await turns()
    assert serve.held.total() == 0
    assert await use(slots) == "a"
    assert serve.asked == 2


async def test_an_old_slot_is_given_back_so_that_serve_chooses_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "AGE_MAX_S", -1.0)
    serve = Serve("a", "b")
    slots = slots_of(serve)
    assert [await use(slots), await use(slots)] == ["a", "b"]


async def test_a_slot_of_a_failed_request_is_given_back():
    """Its replica may be what failed."""
    serve = Serve("a", "b")
    slots = slots_of(serve)
    slot = await slots.take(1.0)
    with suppress(ZeroDivisionError), slots.used(slot):
        raise ZeroDivisionError
    assert await use(slots) == "b"


async def test_a_slot_whose_lease_has_ended_is_not_kept():
    """Its replica has died, while the slot was free or in use."""
    serve = Serve("a", "b", "c")
    slots = slots_of(serve)
    await use(slots)
    serve.leases[0].set_result(None)
    await turns()
    slot = await slots.take(1.0)
    with slots.used(slot):
        serve.leases[1].set_result(None)
        await turns()
    assert (slot.replica.id, await use(slots)) == ("b", "c")


async def test_a_request_waits_so_long_and_no_longer():
    serve = Serve()
    slots = slots_of(serve)
    with pytest.raises(TimeoutError):
        await use(slots, wait_s=0.0)
    serve.free.put_nowait("a")
    await turns()
    assert serve.held.total() == 0  # nothing is taken for a request that gave up


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_slot():
    serve = Serve()
    slots = slots_of(serve)
    request = asyncio.create_task(use(slots))
    await turns()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    serve.free.put_nowait("a")
    await turns()
    assert serve.held.total() == 0


async def test_a_slot_that_comes_as_its_request_is_cancelled_goes_to_the_next():
    serve = Serve("a")
    slots = slots_of(serve)
    slot = await slots.take(1.0)
    with slots.used(slot):
        leaving, staying = asyncio.create_task(use(slots)), asyncio.create_task(use(slots))
        await turns()
    leaving.cancel()  # the slot is on its way to it
    assert await staying == "a"
    await asyncio.gather(leaving, return_exceptions=True)
    assert leaving.cancelled()


async def test_what_serve_refuses_is_told_to_the_request():
    serve = Serve()
    slots = slots_of(serve)
    serve.error = ModelWarming()
    with pytest.raises(ModelWarming):
        await use(slots)
    serve.error = None
    serve.free.put_nowait("a")
    assert await use(slots) == "a"


async def test_closing_gives_every_slot_back():
    serve = Serve("a", "b")
    slots = slots_of(serve)
    slot = await slots.take(1.0)
    await use(slots)
    with slots.used(slot):
        await slots.close()
    assert serve.held.total() == 0
