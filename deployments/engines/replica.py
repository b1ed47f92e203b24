"""The Serve deployment that owns an engine: it places, leases and supervises. No request's bytes pass through it."""

import asyncio
import time
from pathlib import Path

import ray
from ray import serve

from catalog.card import ModelCard
from deployments.engines.environment import find_environment
from deployments.engines.launch import Place
from deployments.engines.markers import check_markers, hub_folder
from deployments.engines.memory import memory_bound, node_bytes
from deployments.engines.metrics import TABLE, EngineMetrics
from deployments.engines.server import EngineServer
from deployments.engines.started import LAUNCHERS
from deployments.engines.weights import locate
from deployments.engines.witness import Occupant, Witness
from deployments.ledger.client import LedgerClient
from deployments.ledger.locate import Ledger, writer_address
from deployments.metric import Instruments
from deployments.scaling.starting import Stopwatch

HOLDER_CHECK_EVERY_S = 30.0


class Engine:
    """One replica: the engine server of one model, at one URL for the replica's whole life."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, card: ModelCard, engines: Path, checkout: Path, cache: Path, ledger: Ledger
    ) -> None:
        """Returns when the engine is ready, so Serve sends nothing before. Raises `EngineDied` with its last words, or
        `CardError`.
        """
        self._stopped = False
        self._tasks: list[asyncio.Task[None]] = []
        self._witness = Witness(_occupant(card), LedgerClient(lambda: writer_address(ledger)), _now_ms)
        self._witness.start()
        stopwatch = Stopwatch()
        host = ray.util.get_node_ip_address()
        weights = await asyncio.to_thread(locate, card.source, checkout, cache)
        stopwatch.weights_are_here()
        if isinstance(weights, Path):
            await asyncio.to_thread(check_markers, card, weights)
        place = Place.anew(host, weights)
        environment = find_environment(engines, card.engine.name, card.engine.version)
        self._metadata = {
            "url": f"http://{host}:{place.port}",
            "token": place.token,
        }
        self._metrics = EngineMetrics(card.served_name, Instruments(TABLE))
        launch = LAUNCHERS[card.engine.name](card, environment, place)
        self._server = EngineServer(
            launch,
            self._metadata["url"],
            changed=self._changed,
            died=self._metrics.died,
            memory_bytes_max=memory_bound(node_bytes()),
        )
        self._witness.watch(self._server, place.token)
        await self._server.start()
        if not isinstance(weights, Path):
            await self._check_fetched(card)
        await asyncio.to_thread(stopwatch.tell, card.served_name)
        self._tasks = [
            asyncio.create_task(self._server.supervise(lambda: self._stopped)),
            asyncio.create_task(self._metrics.keep_reading(self._server, place.token)),
        ]

    async def _check_fetched(self, card: ModelCard) -> None:
        """Weights of a hub are here when the engine is ready. Raises `CardError`, and the engine has ended."""
        try:
            if folder := hub_folder(card):
                await asyncio.to_thread(check_markers, card, folder)
        except BaseException:
            await self._server.stop()
            raise

    def record_replica_metadata(self) -> dict[str, str]:
        """Published by Serve to every gateway, once: where the engine server is, and the token that opens it."""
        return self._metadata

    async def lease(self, holder: str) -> None:
        """Occupy a slot until cancelled, or until the actor of this name has died: Ray does not cancel for the dead."""
        with self._witness.slot():
            lives = True
            while lives:
                await asyncio.sleep(HOLDER_CHECK_EVERY_S)
                lives = await asyncio.to_thread(_lives, holder)

    def _changed(self) -> None:
        """The engine server has another `epoch`, or is ready, or is not any more."""
        self._witness.look_soon()
        self._metrics.changed(self._server.epoch, ready=self._server.ready)

    async def check_health(self) -> None:
        """Called by Serve; what it raises is in Serve's status."""
        await self._server.check()

    async def __del__(self) -> None:
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # else it never was ready, and its engine has ended, if there was one
            await self._witness.look()  # the last counters, while there is an engine to ask
            await self._server.stop()
        await self._witness.close()


def _occupant(card: ModelCard) -> Occupant:
    """This replica, under the id that gateways see when they reserve a slot on it."""
    replica_id = serve.get_replica_context().replica_tag
    return Occupant(replica_id, card.served_name, card.accelerators.rent_nano_per_hour)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _lives(actor: str) -> bool:
    try:
        ray.get_actor(actor, ray.get_runtime_context().namespace)
    except ValueError:
        return False
    return True
