"""The engine of a card, alone on this machine: started as a replica starts it, and stopped again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from calibration.load import Target
from catalog.card import ModelCard
from deployments.engines.environment import EngineEnvironment
from deployments.engines.started import started
from deployments.engines.weights import locate

# Serve prints what is logged below it as soon as it is imported; an engine that fails ends with its last words anyway.
ENGINE_LOG = logging.getLogger("ray.serve")


@asynccontextmanager
async def engine(card: ModelCard, environment: EngineEnvironment, checkout: Path, cache: Path) -> AsyncIterator[Target]:
    """Raises `EngineDied`, `WeightsError` and `CardError`."""
    ENGINE_LOG.setLevel(logging.ERROR)
    weights = await asyncio.to_thread(locate, card.source, checkout, cache)
    async with started(card, environment, weights) as ready:
        yield Target(ready.url, ready.token)
