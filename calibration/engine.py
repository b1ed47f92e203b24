"""The engine of a card, alone on this machine: started as a replica starts it, and stopped again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from calibration.load import Target
from catalog.card import ModelCard
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Place
from deployments.engines.replica import LAUNCHERS
from deployments.engines.server import EngineServer
from deployments.engines.weights import locate

HOST = "127.0.0.1"
# Serve prints what is logged below it as soon as it is imported; an engine that fails ends with its last words anyway.
ENGINE_LOG = logging.getLogger("ray.serve")


@asynccontextmanager
async def engine(card: ModelCard, environment: EngineEnvironment, checkout: Path, cache: Path) -> AsyncIterator[Target]:
    """Raises `EngineDied`, `WeightsError` and `CardError`."""
    ENGINE_LOG.setLevel(logging.ERROR)
    weights = await asyncio.to_thread(locate, card.source, checkout, cache)
    place = Place.anew(HOST, weights)
    target = Target(f"http://{HOST}:{place.port}", place.token)
    server = EngineServer(LAUNCHERS[card.engine.name](card, environment, place), target.url)
    try:
        await server.start()
        yield target
    finally:
        await server.stop()
