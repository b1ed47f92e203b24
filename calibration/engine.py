"""The engine of a card, alone on this machine: started as a replica starts it, and stopped again."""

import asyncio
import secrets
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
from deployments.port import free_port

HOST = "127.0.0.1"


@asynccontextmanager
async def engine(card: ModelCard, environment: EngineEnvironment, checkout: Path, cache: Path) -> AsyncIterator[Target]:
    """Raises `EngineDied`, `WeightsError` and `CardError`."""
    weights = await asyncio.to_thread(locate, card.source, checkout, cache)
    place = Place(HOST, free_port(HOST), secrets.token_urlsafe(32), weights)
    target = Target(f"http://{HOST}:{place.port}", place.token)
    server = EngineServer(LAUNCHERS[card.engine.name](card, environment, place), target.url)
    try:
        await server.start()
        yield target
    finally:
        await server.stop()
