"""The slots that this gateway holds on the replicas of one model. A slot that was used is kept a moment for the next request.

Reserving and leasing a slot costs three Ray calls, about 7 ms of CPU on a busy core; taking a kept one costs none. Keeping
hoards little: an idle slot goes back after half a second, any slot after ten, so that other gateways and a drain have their
turn. A request takes a slot on the replica that it wants, or is asked for one there; after a moment any other will do. A slot
that comes free goes to the request that has waited longest of those that it suits.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import Context
from dataclasses import dataclass, field

from deployments.gateway.affinity import choose
from deployments.gateway.errors import GatewayError

IDLE_MAX_S = 0.5
AGE_MAX_S = 10.0
# About what reserving a slot takes: then a warm cache is not worth more waiting.
CHOOSY_S = 0.05


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica on which a slot is ours. `token` opens its engine server."""

    id: str
    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks of its replica: to have seen its `key` before, to be another than `avoid`, and how much work it is.

    Requests with an empty key take whatever is free.
    """

    key: str = ""
    tokens: int = 1
    avoid: str = ""


ANY = Wish()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot as Serve gives it. `ended` is done when it is ours no longer: its replica died, say."""

    replica: Replica
    ended: asyncio.Future[None]


# Asks Serve for a slot, on the replica of this id if that can be; an empty one leaves it to Serve.
Reserve = Callable[[str], AbstractAsyncContextManager[Reservation]]


@dataclass(eq=False, slots=True)
class Slot:
    """A slot that is ours until `over`."""

    replica: Replica
    opened_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request without a slot, and the replica it wants."""

    slot: asyncio.Future[Slot]
    wants: str


class Slots:
    """`reserve` waits until there is a slot, and raises `GatewayError` if there can be none. `running` has the ids of the
    model's replicas, as far as they are known.
    """

    def __init__(self, reserve: Reserve, running: Callable[[], tuple[str, ...]]) -> None:
        self._reserve = reserve
        self._running = running
        self._free: list[Slot] = []
        self._loads: Counter[str] = Counter()  # tokens by replica, of those that wait for it, too
        self._waiting: deque[_Waiting] = deque()
        self._opening: list[asyncio.Task[None]] = []
        self._open: set[asyncio.Task[None]] = set()

    async def take(self, wait_s: float, wish: Wish = ANY) -> Slot:
        """A slot, to be `used` at once. Raises TimeoutError if none comes free in time, or what `reserve` raises."""
        wants = self._wanted(wish)
        return self._take_free(wants) or await self._wait(wait_s, wants, wish.tokens)

    @contextmanager
    def used(self, slot: Slot, tokens: int = 1) -> Iterator[None]:
        """Use the slot while the block runs. It is kept for the next request only if the block ends well: a request
        that failed may mean that its replica did.
        """
        self._loads[slot.replica.id] += tokens
        try:
            yield
        except BaseException:
            slot.over.set()
            raise
        finally:
            self._loads[slot.replica.id] -= tokens
            if asyncio.get_running_loop().time() - slot.opened_s > AGE_MAX_S:
                slot.over.set()
            self._give(slot)

    async def close(self) -> None:
        """Give every slot back."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _wanted(self, wish: Wish) -> str:
        """The replica for this request; empty if any will do."""
        if not wish.key:
            return ""
        replicas = self._running()
        if wish.avoid:
            replicas = tuple(replica for replica in replicas if replica != wish.avoid)
        return choose(wish.key, wish.tokens, replicas, self._loads) if replicas else ""

    def _take_free(self, wants: str) -> Slot | None:
        """A kept slot on the wanted replica, else on that which does least for us; of several there, the one used last."""
        free = [slot for slot in reversed(self._free) if not slot.over.is_set() and wants in ("", slot.replica.id)]
        if not free:
            return None
        slot = min(free, key=lambda slot: self._loads[slot.replica.id])
        self._forget(slot)
        return slot

    def _give(self, slot: Slot) -> None:
        if slot.over.is_set():
            return
        for request in self._waiting:
            if not request.slot.done() and request.wants in ("", slot.replica.id):
                request.slot.set_result(slot)
                return
        self._free.append(slot)
        slot.idle = asyncio.get_running_loop().call_later(IDLE_MAX_S, slot.over.set)

    def _forget(self, slot: Slot) -> None:
        self._free.remove(slot)
        if slot.idle:
            slot.idle.cancel()

    async def _wait(self, wait_s: float, wants: str, tokens: int) -> Slot:
        """The next slot that comes free or that Serve gives; it is asked for one more for every request that waits."""
        loop = asyncio.get_running_loop()
        request = _Waiting(loop.create_future(), wants)
        self._waiting.append(request)
        self._loads[wants] += tokens
        # Not in this request's context: Serve would take every slot asked for in it for the same call.
        task = asyncio.create_task(self._live(wants), context=Context())
        self._opening.append(task)
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        settling = loop.call_later(CHOOSY_S, self._settle, request)
        try:
            async with asyncio.timeout(wait_s):
                return await request.slot
        except BaseException:
            if request.slot.done() and not request.slot.cancelled() and not request.slot.exception():
                self._give(request.slot.result())  # it came just as this request gave up
            raise
        finally:
            settling.cancel()
            self._loads[wants] -= tokens
            self._waiting.remove(request)
            while len(self._opening) > len(self._waiting):
                self._opening.pop().cancel()

    def _settle(self, request: _Waiting) -> None:
        """Any slot will do for this request from now on."""
        request.wants = ""
        if not request.slot.done() and (slot := self._take_free("")):
            request.slot.set_result(slot)

    async def _live(self, wants: str) -> None:
        """The life of a slot: reserved, offered, given back."""
        task = asyncio.current_task()
        assert task is not None
        try:
            async with self._reserve(wants) as reservation:
                slot = Slot(reservation.replica, asyncio.get_running_loop().time())
                reservation.ended.add_done_callback(lambda _: slot.over.set())
                self._opening.remove(task)
                self._give(slot)
                try:
                    await slot.over.wait()
                finally:
                    slot.over.set()
                    if slot in self._free:
                        self._forget(slot)
        except GatewayError as error:
            if task in self._opening:
                self._opening.remove(task)
                self._refuse(error)

    def _refuse(self, error: GatewayError) -> None:
        """Serve has no slot: the request that has waited longest hears it."""
        for request in self._waiting:
            if not request.slot.done():
                request.slot.set_exception(error)
                return
