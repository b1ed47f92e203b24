"""Where a request runs: Serve reserves slots on the model's replicas, a lease makes each visible and safe.

A bare reservation is unseen by Serve's autoscaler and is lost for ever if this gateway dies. So a `lease` call is
dispatched on it: it counts as running work, and ends by itself soon after this gateway has died.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException, RequestCancelledError
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from catalog.card import ModelCard
from deployments.gateway.errors import ModelWarming, Overloaded
from deployments.gateway.running import running_replicas
from deployments.gateway.slots import Replica, Reservation, Slots, Wish

LEASE = "lease"
LEASE_END_S = 2.0
LOOK_EVERY_S = 1.0


class Router(Protocol):
    """Finds a replica for a request."""

    def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AbstractAsyncContextManager[Replica]:
        """Hold a slot on a replica while the context lasts. Raises `ModelWarming` or `Overloaded`."""

    def replicas(self, card: ModelCard) -> int:
        """How many of the model's replicas run, as far as it is known; at least 1."""


class ServeRouter:
    """Routes by Ray Serve. `find` returns a model's handle, and raises `RayServeException` while it is not deployed.

    `holder` names this gateway's own actor: while it lives, its leases do.
    """

    def __init__(self, find: Callable[[ModelCard], DeploymentHandle[Any]], holder: str, queue_wait_s: float) -> None:
        self._find = find
        self._holder = holder
        self._queue_wait_s = queue_wait_s
        self._handles: dict[str, DeploymentHandle[Any]] = {}
        self._slots: dict[str, Slots] = {}

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        """See `Router.replica`."""
        slots = self._slots_of(card)
        try:
            slot = await slots.take(min(self._queue_wait_s, wait_s), wish)
        except TimeoutError as error:
            raise Overloaded if self._handles[card.id].running_replicas_populated() else ModelWarming from error
        with slots.used(slot, wish.tokens):
            yield slot.replica

    def replicas(self, card: ModelCard) -> int:
        """See `Router.replicas`."""
        handle = self._handles.get(card.id)
        return max(1, len(_running(handle))) if handle else 1

    def runs(self, card: ModelCard) -> bool:
        """Whether this gateway knows of a replica that runs."""
        handle = self._handles.get(card.id)
        return bool(handle and _running(handle))

    async def listen(self, cards: Iterable[ModelCard]) -> None:
        """Have Serve tell which replicas run, before a request asks; returns when every model is deployed."""
        missing = list(cards)
        while missing := [card for card in missing if not self._hears(card)]:  # noqa: ASYNC110  # Serve calls nobody back
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """Give every slot back."""
        await asyncio.gather(*(slots.close() for slots in self._slots.values()))

    def _hears(self, card: ModelCard) -> bool:
        try:
            self._slots_of(card)
        except ModelWarming:
            return False
        return True

    def _slots_of(self, card: ModelCard) -> Slots:
        if card.id not in self._slots:
            try:
                handle = self._handles[card.id] = self._find(card).options(method_name=LEASE)
            except RayServeException as error:
                raise ModelWarming from error
            self._slots[card.id] = Slots(lambda wants: self._reserved(handle, wants), lambda: _running(handle))
        return self._slots[card.id]

    @asynccontextmanager
    async def _reserved(self, handle: DeploymentHandle[Any], wants: str) -> AsyncIterator[Reservation]:
        """A slot with a lease on it. Raises `Overloaded` or `ModelWarming`."""
        try:
            # `AffinityRouter` reads the id of the wanted replica from there.
            async with handle.options(session_id=wants).choose_replica() as selection:
                lease = handle.dispatch(selection, self._holder)
                ended = asyncio.ensure_future(_ended(lease))
                metadata = selection.replica_metadata
                try:
                    yield Reservation(Replica(selection.replica_id, metadata["url"], metadata["token"]), ended)
                finally:
                    lease.cancel()
                    await asyncio.wait({ended}, timeout=LEASE_END_S)
        except BackPressureError as error:
            raise Overloaded from error
        except (RayServeException, RayError) as error:
            raise ModelWarming from error


def _running(handle: DeploymentHandle[Any]) -> tuple[str, ...]:
    return running_replicas(handle.app_name, handle.deployment_name)


async def _ended(lease: DeploymentResponse[Any]) -> None:
    """Return when the lease has ended, however."""
    with suppress(RequestCancelledError, RayServeException, RayError):
        await lease
