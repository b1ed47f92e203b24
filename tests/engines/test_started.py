"""An engine alone on this machine. A few lines of `http.server` play it: they know the way in, and nothing of models."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from catalog import ModelCard, load_catalog
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Launch, Place
from deployments.engines.server import EngineDied
from deployments.engines.started import LAUNCHERS, StartedEngine, started, started_sync

ENGINE = """
import http.server, os, sys
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers["authorization"] == "Bearer " + os.environ["ENGINE_TOKEN"]
        self.send_response(200 if known or self.path == "/health" else 401)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer((sys.argv[1], int(sys.argv[2])), Engine).serve_forever()
"""


def toy(card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
    command = (str(environment.python), "-c", ENGINE, place.host, str(place.port))
    return Launch(command, {"ENGINE_TOKEN": place.token})


ENVIRONMENT = EngineEnvironment(Path(sys.executable), "1.0", "cpu")
WEIGHTS = Path("/weights")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    monkeypatch.setitem(LAUNCHERS, "toy", toy)
    card = load_catalog().find("demo-qwen2-vl")
    assert card
    return card.model_copy(update={"engine": card.engine.model_copy(update={"name": "toy"})})


def status(engine: StartedEngine, token: str) -> int:
    return httpx.get(f"{engine.url}/v1/models", headers={"authorization": f"Bearer {token}"}).status_code


def ended(engine: StartedEngine) -> bool:
    """Nobody is at its address, and its pipes are closed."""
    assert engine.server._process
    engine.server._process.__exit__(None, None, None)
    assert engine.server.pid
    return not psutil.pid_exists(engine.server.pid)


async def test_it_is_ready_and_its_own_token_opens_it(card: ModelCard):
    """Two that run beside each other have different ports and tokens."""
    async with started(card, ENVIRONMENT, WEIGHTS) as one, started(card, ENVIRONMENT, WEIGHTS) as other:
        statuses = [await asyncio.to_thread(status, *asked) for asked in ((one, one.token), (one, other.token))]
        assert (statuses, one.url != other.url) == ([200, 401], True)
    assert ended(one)
    assert ended(other)


async def test_it_ends_with_its_block_however_that_ends(card: ModelCard):
    with pytest.raises(ZeroDivisionError):
        async with started(card, ENVIRONMENT, WEIGHTS) as engine:
            raise ZeroDivisionError
    assert ended(engine)


async def test_one_that_does_not_start_says_why(card: ModelCard):
    """With its last words."""

    def broken(launch: Launch) -> Launch:
        return replace(launch, command=(sys.executable, "-c", "import sys; sys.exit('no memory')"))

    with pytest.raises(EngineDied, match="no memory"):
        async with started(card, ENVIRONMENT, WEIGHTS, change=broken):
            pass


@pytest.fixture
def kept(card: ModelCard) -> Iterator[StartedEngine]:
    with started_sync(card, ENVIRONMENT, WEIGHTS) as engine:
        yield engine
    assert ended(engine)


def test_it_outlives_an_event_loop(kept: StartedEngine):
    """Of whoever has none, or several."""
    for _ in range(2):
        assert asyncio.run(asyncio.to_thread(status, kept, kept.token)) == 200
