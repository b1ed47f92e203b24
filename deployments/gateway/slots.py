"""The slots that this gateway holds on the replicas of one model. A slot that was used is kept a moment for the next request.

Reserving and leasing a slot costs three Ray calls, about 7 ms of CPU on a busy core; taking a kept one costs none. Keeping
hoards little: an idle slot goes back after half a second, any slot after ten, so that other gateways, a drain and Serve's
own choice of replica have their turn; and a slot that comes free goes to the request that has waited longest.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from deployments.gateway.errors import GatewayError

IDLE_MAX_S = 0.5
AGE_MAX_S = 10.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica on which a slot is ours. `token` opens its engine server."""

    id: str
    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot as Serve gives it. `ended` is done when it is ours no longer: its replica died, say."""

    replica: Replica
    ended: asyncio.Future[None]


Reserve = Callable[[], AbstractAsyncContextManager[Reservation]]


@dataclass(eq=False, slots=True)
class Slot:
    """A slot that is ours until `over`."""

    replica: Replica
    opened_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.TimerHandle | None = None


class Slots:
    """`reserve` asks Serve for a slot, waits until there is one, and raises `GatewayError` if there can be none."""

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._free: list[Slot] = []
        self._used: Counter[str] = Counter()
        self._waiting: deque[asyncio.Future[Slot]] = deque()
        self._opening: list[asyncio.Task[None]] = []
        self._open: set[asyncio.Task[None]] = set()

    async def take(self, wait_s: float) -> Slot:
        """A slot, to be `used` at once. Raises TimeoutError if none comes free in time, or what `reserve` raises."""
        return self._take_free() or await self._wait(wait_s)

    @contextmanager
    def used(self, slot: Slot) -> Iterator[None]:
        """Use the slot while the block runs. It is kept for the next request only if the block ends well: a request
        that failed may mean that its replica did.
        """
        self._used[slot.replica.id] += 1
        try:
            yield
        except BaseException:
            slot.over.set()
            raise
        finally:
            self._used[slot.replica.id] -= 1
            if asyncio.get_running_loop().time() - slot.opened_s > AGE_MAX_S:
                slot.over.set()
            self._give(slot)

    async def close(self) -> None:
        """Give every slot back."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _take_free(self) -> Slot | None:
        """A kept slot, on the replica that does least for us; of several there, the one used last."""
        free = [slot for slot in reversed(self._free) if not slot.over.is_set()]
        if not free:
            return None
        slot = min(free, key=lambda slot: self._used[slot.replica.id])
        self._forget(slot)
        return slot

    def _give(self, slot: Slot) -> None:
        if slot.over.is_set():
            return
        while self._waiting:
            request = self._waiting.popleft()
            if not request.done():
                request.set_result(slot)
                return
        self._free.append(slot)
        slot.idle = asyncio.get_running_loop().call_later(IDLE_MAX_S, slot.over.set)

    def _forget(self, slot: Slot) -> None:
        self._free.remove(slot)
        if slot.idle:
            slot.idle.cancel()

    async def _wait(self, wait_s: float) -> Slot:
        """The next slot that comes free or that Serve gives; it is asked for one more for every request that waits."""
        request: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.append(request)
        task = asyncio.create_task(self._live())
        self._opening.append(task)
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            async with asyncio.timeout(wait_s):
                return await request
        except BaseException:
            if request.done() and not request.cancelled() and not request.exception():
                self._give(request.result())  # it came just as this request gave up
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(request)
            while len(self._opening) > len(self._waiting):
                self._opening.pop().cancel()

    async def _live(self) -> None:
        """The life of a slot: reserved, offered, given back."""
        task = asyncio.current_task()
        assert task is not None
        try:
            async with self._reserve() as reservation:
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
        while self._waiting:
            request = self._waiting.popleft()
            if not request.done():
                request.set_exception(error)
                return
