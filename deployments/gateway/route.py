"""Where a request runs: Serve reserves a slot on one of the model's replicas, a lease makes the slot visible and safe.

A bare reservation is unseen by Serve's autoscaler and is lost for ever if this gateway dies. So a `lease` call is
dispatched on it: it counts as running work, and ends by itself at the request's deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException, RequestCancelledError
from ray.serve.handle import DeploymentHandle, ReplicaSelection

from catalog.card import ModelCard
from deployments.gateway.errors import ModelWarming, Overloaded

LEASE = "lease"
LEASE_END_S = 2.0


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica on which a slot is ours. `token` opens its engine server."""

    id: str
    url: str
    token: str


class Router(Protocol):
    """Finds a replica for a request."""

    def replica(
        self, card: ModelCard, affinity: str, request_id: str, deadline_s: float
    ) -> AbstractAsyncContextManager[Replica]:
        """Hold a slot on a replica while the context lasts. Raises `ModelWarming` or `Overloaded`."""


class ServeRouter:
    """Routes by Ray Serve. `find` returns a model's handle, and raises `RayServeException` while it is not deployed."""

    def __init__(self, find: Callable[[ModelCard], DeploymentHandle[Any]], queue_wait_s: float) -> None:
        self._find = find
        self._queue_wait_s = queue_wait_s
        self._handles: dict[str, DeploymentHandle[Any]] = {}

    @asynccontextmanager
    async def replica(
        self, card: ModelCard, affinity: str, request_id: str, deadline_s: float
    ) -> AsyncIterator[Replica]:
        """See `Router.replica`. `affinity` brings requests with the same first image to the same replica."""
        handle = self._handle(card).options(session_id=affinity)
        reservation = handle.choose_replica()
        try:
            async with asyncio.timeout(min(self._queue_wait_s, deadline_s)):
                selection = await reservation.__aenter__()
        except (TimeoutError, BackPressureError) as error:
            raise Overloaded if handle.running_replicas_populated() else ModelWarming from error
        except DeploymentUnavailableError as error:
            raise ModelWarming from error
        try:
            async with _leased(handle, selection, request_id, deadline_s):
                metadata = selection.replica_metadata
                yield Replica(selection.replica_id, metadata["url"], metadata["token"])
        finally:
            await reservation.__aexit__(None, None, None)

    def _handle(self, card: ModelCard) -> DeploymentHandle[Any]:
        if card.id not in self._handles:
            try:
                self._handles[card.id] = self._find(card).options(method_name=LEASE)
            except RayServeException as error:
                raise ModelWarming from error
        return self._handles[card.id]


@asynccontextmanager
async def _leased(
    handle: DeploymentHandle[Any], selection: ReplicaSelection, request_id: str, deadline_s: float
) -> AsyncIterator[None]:
    """Occupy the slot while the block runs. Raises `ModelWarming` if the replica has gone meanwhile."""
    try:
        lease = handle.dispatch(selection, request_id, deadline_s)
    except (RayServeException, RayError) as error:
        raise ModelWarming from error
    try:
        yield
    finally:
        lease.cancel()
        # A replica that died is told by its engine's connection; here it only means: no lease any more.
        with suppress(RequestCancelledError, RayServeException, RayError, TimeoutError):
            async with asyncio.timeout(LEASE_END_S):
                await lease
