"""The engine of a card, started alone on this machine, as a replica starts it: for calibration, benchmarks and tests.

The way in is in one place, so its token is always a secret of its own, and no engine outlives whoever started it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalog.card import ModelCard
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Launch, Launcher, Place
from deployments.engines.lmdeploy import lmdeploy
from deployments.engines.server import EngineServer
from deployments.engines.transformers import transformers
from deployments.engines.vllm import vllm

LAUNCHERS: dict[str, Launcher] = {"vllm": vllm, "lmdeploy": lmdeploy, "transformers": transformers}
LOOPBACK = "127.0.0.1"

# What a test or a trial starts otherwise than a replica does.
Change = Callable[[Launch], Launch]


@dataclass(frozen=True, slots=True)
class StartedEngine:
    """An engine server that is ready, and the token that opens it."""

    server: EngineServer
    token: str

    @property
    def url(self) -> str:
        return self.server.url


@asynccontextmanager
async def started(
    card: ModelCard,
    environment: EngineEnvironment,
    weights: Path | str,
    *,
    host: str = LOOPBACK,
    change: Change = lambda launch: launch,
) -> AsyncIterator[StartedEngine]:
    """The card's engine, until the block ends. Raises `EngineDied` and `CardError`."""
    place = Place.anew(host, weights)
    launch = change(LAUNCHERS[card.engine.name](card, environment, place))
    server = EngineServer(launch, f"http://{host}:{place.port}")
    try:
        await server.start()
        yield StartedEngine(server, place.token)
    finally:
        await server.stop()


@contextmanager
def started_sync(
    card: ModelCard, environment: EngineEnvironment, weights: Path | str, *, change: Change = lambda launch: launch
) -> Iterator[StartedEngine]:
    """The same for a caller without an event loop, or with one that ends sooner than the engine."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        engine = started(card, environment, weights, change=change)
        ready = runner.run(engine.__aenter__())
        try:
            yield ready
        finally:
            runner.run(engine.__aexit__(None, None, None))
