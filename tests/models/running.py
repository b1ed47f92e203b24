"""An engine server that runs as a replica runs it, and questions for it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog import ModelCard
from deployments.engines.environment import EngineEnvironment, EngineEnvironmentError, find_environment
from deployments.engines.server import EngineServer
from deployments.engines.started import Change, StartedEngine, started_sync
from deployments.engines.witness import Counters, read_counters

ENGINES = Path(__file__).parents[2] / os.environ.get("VLMFLEET_ENGINES", ".venvs")
USAGE_IN_CHUNKS = {"include_usage": True, "continuous_usage_stats": True}


@dataclass(frozen=True)
class Running:
    """A server of one model."""

    card: ModelCard
    engine: StartedEngine

    @property
    def server(self) -> EngineServer:
        return self.engine.server

    @property
    def token(self) -> str:
        return self.engine.token

    async def chat(self, *parts: Any, **fields: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/v1/chat/completions", json=self.body(*parts, **fields))

    async def answer(self, *parts: Any, **fields: Any) -> dict[str, Any]:
        response = await self.chat(*parts, **fields)
        assert response.status_code == 200, response.text
        return response.json()

    async def chunks(self, *parts: Any, **fields: Any) -> list[dict[str, Any]]:
        """Of a stream, which ended as it must."""
        response = await self.chat(*parts, stream=True, stream_options=USAGE_IN_CHUNKS, **fields)
        assert response.status_code == 200, response.text
        *events, done, nothing = response.text.split("\n\n")
        assert (done, nothing) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    async def refusal(self, *parts: Any, **fields: Any) -> str:
        """The message of a 400."""
        response = await self.chat(*parts, **fields)
        assert response.status_code == 400, response.text
        return response.json()["error"]["message"]

    async def counters(self) -> Counters:
        return await read_counters(self.server.url, 5.0, self.token)

    async def rests(self) -> None:
        """Wait until it has nothing to do, as it says itself."""
        for _ in range(120):
            if (await self.counters()).in_flight == 0:
                return
            await asyncio.sleep(0.25)
        pytest.fail("it did not come to rest")

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {self.token}"}
        # Each question on a connection of its own: a slow machine meets one that is just being closed.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self.server.url, headers=headers, timeout=300, limits=limits) as client:
            yield client

    def body(self, *parts: Any, **fields: Any) -> dict[str, Any]:
        """A question, greedy unless it says otherwise. A part is a text, or the part of a message."""
        content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
        messages = [{"role": "user", "content": content}]
        return {"model": self.card.served_name, "messages": messages, "max_tokens": 16, "temperature": 0} | fields


@contextmanager
def running(card: ModelCard, weights: Path) -> Iterator[Running]:
    """The card's engine, by our launcher and our supervision, until the block ends."""
    with kept(card, weights) as engine:
        yield Running(card, engine)


@contextmanager
def kept(card: ModelCard, weights: Path, change: Change = lambda launch: launch) -> Iterator[StartedEngine]:
    """The engine alone, and after it none of its pipes."""
    with started_sync(card, environment_of(card), weights, change=change) as engine:
        yield engine
    assert engine.server._process
    engine.server._process.__exit__(None, None, None)


def environment_of(card: ModelCard) -> EngineEnvironment:
    """Skips the test where there is none, and says how to make it."""
    try:
        return find_environment(ENGINES, card.engine.name, card.engine.version)
    except EngineEnvironmentError as error:
        pytest.skip(str(error))


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def streamed_text(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
