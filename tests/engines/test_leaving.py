"""Who leaves stops the work, at whatever stage: straight at each engine, and by the gateway's own client.

Real engines on the CPU that compute one answer at a time, so the next answer says that nobody else's is being computed. Skipped
where an environment is not installed: `make engine-vllm engine-lmdeploy engine-transformers`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog import ModelCard, load_catalog
from catalog.catalog import load_card
from deployments.gateway.engine import Engines
from deployments.gateway.slots import Replica
from tests.models.internvl2 import image, picture, run_in
from tests.models.running import Running, environment_of, running, text_of

pytestmark = pytest.mark.engine

CHECKOUT = Path(__file__).parents[2]
TINY = CHECKOUT / "tests" / "models"
CARDS = [
    load_catalog().find("demo-qwen2-vl"),
    load_catalog().find("demo-internvl2"),
    load_card(TINY / "tiny-smolvlm2.yaml"),
]
ENOUGH = 1200  # output tokens that no answer here is let alone to reach
AFTER_FIRST, IN_THE_MIDDLE = 2, 12


@pytest.fixture(scope="module", params=CARDS, ids=lambda card: card.engine.name)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    card: ModelCard = request.param
    one_at_a_time = card.model_copy(update={"engine": card.engine.model_copy(update={"sequences_max": 1})})
    with running(one_at_a_time, _weights(card, tmp_path_factory)) as engine:
        yield engine


def _weights(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if card.engine.name != "transformers":
        return CHECKOUT / str(card.source.path)
    folder = tmp_path_factory.mktemp("weights")
    run_in(environment_of(card), TINY / "tiny_vlms", "smolvlm2", str(folder))
    return folder


def long_answer(engine: Running, *, streamed: bool, seed: int = 0) -> bytes:
    """A question about an image that takes a moment to be sent and prepared, and an answer that takes long."""
    noise = image(picture(512, 512, seed))
    fields = {"max_tokens": ENOUGH, "ignore_eos": True, "temperature": 1, "seed": seed, "stream": streamed}
    # JSON may begin with blanks: a large body without a large image.
    return b" " * 2**19 + json.dumps(engine.body(noise, "hello", **fields)).encode()


@asynccontextmanager
async def asked(engine: Running, body: bytes):
    """By the gateway's own client."""
    engines = Engines()
    try:
        replica = Replica("r", engine.server.url, engine.token)
        async with engines.ask(replica, "id", body, engine.card.context_tokens) as answer:
            yield answer
    finally:
        await engines.close()


async def while_it_is_sent(engine: Running, *, streamed: bool) -> None:
    await _sent(engine, long_answer(engine, streamed=streamed), part=0.5)


async def when_it_is_sent(engine: Running, *, streamed: bool) -> None:
    """The engine begins to read images."""
    await _sent(engine, long_answer(engine, streamed=streamed), part=1)


async def while_it_waits(engine: Running, *, streamed: bool) -> None:
    """Behind another answer, which is left as well."""
    async with asked(engine, long_answer(engine, streamed=True)) as first:
        chunks = first.chunks()
        await _read(chunks, AFTER_FIRST)
        second = asyncio.create_task(_whole(engine, long_answer(engine, streamed=streamed, seed=1)))
        await _read(chunks, IN_THE_MIDDLE)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        raise Gone


async def when_it_is_computed(engine: Running, *, streamed: bool) -> None:
    before = (await engine.counters()).output_tokens
    asking = asyncio.create_task(_whole(engine, long_answer(engine, streamed=streamed)))
    while (await engine.counters()).output_tokens == before:  # noqa: ASYNC110  # only its counters tell
        await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def after_its_first_chunk(engine: Running, *, streamed: bool) -> None:
    async with asked(engine, long_answer(engine, streamed=True)) as answer:
        await _read(answer.chunks(), AFTER_FIRST)
        raise Gone


async def in_its_middle(engine: Running, *, streamed: bool) -> None:
    async with asked(engine, long_answer(engine, streamed=True)) as answer:
        await _read(answer.chunks(), IN_THE_MIDDLE)
        raise Gone


class Gone(Exception):
    """The caller has left."""


Stage = Callable[..., Awaitable[None]]


@pytest.mark.parametrize(
    ("leave", "streamed"),
    [
        *((stage, streamed)
          for stage in (while_it_is_sent, when_it_is_sent, while_it_waits, when_it_is_computed)
          for streamed in (False, True)),
        (after_its_first_chunk, True),
        (in_its_middle, True),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
async def test_who_leaves_stops_the_work(engine: Running, leave: Stage, streamed: bool):
    """Six at once: of none is the answer written to its end, and then the engine is free."""
    before = (await engine.counters()).output_tokens
    left = await asyncio.gather(*(leave(engine, streamed=streamed) for _ in range(6)), return_exceptions=True)
    assert all(isinstance(end, Gone | None) for end in left), left
    assert text_of(await engine.answer("hello", max_tokens=1, ignore_eos=True)) is not None
    assert (await engine.counters()).output_tokens - before < ENOUGH


async def test_who_asks_about_an_image_that_others_left_in_preparation_is_answered(engine: Running):
    """vLLM fails the first of them: its server thinks that its core has the image already."""
    for round_number in range(4):
        body = long_answer(engine, streamed=False, seed=100 + round_number)
        await asyncio.gather(*(_sent(engine, body, part=1) for _ in range(8)))
        for streamed in (False, True):
            short = json.loads(long_answer(engine, streamed=streamed, seed=100 + round_number)) | {"max_tokens": 2}
            async with asked(engine, json.dumps(short).encode()) as answer:
                if streamed:
                    assert [chunk async for chunk in answer.chunks()]
                else:
                    assert await answer.whole()


@pytest.mark.parametrize("engine", [card for card in CARDS if card.engine.name == "vllm"], indirect=True, ids=["vllm"])
async def test_an_answer_is_ended_by_its_name(engine: Running):
    """At vLLM; our own servers see at every stage that their caller has left. Who is still connected gets no more of it."""
    before = (await engine.counters()).output_tokens
    async with engine.client() as client:
        body = long_answer(engine, streamed=True)
        async with client.stream("POST", "/v1/chat/completions", content=body, headers=_named("one")) as response:
            lines = response.aiter_lines()
            await anext(lines)
            ended = await client.post("/inference/v1/abort_requests", json={"request_ids": ["chatcmpl-one"]})
            assert ended.status_code == 200
            async for _ in lines:
                pass
    assert (await engine.counters()).output_tokens - before < ENOUGH


def _named(name: str) -> dict[str, str]:
    return {"x-request-id": name, "content-type": "application/json"}


async def _sent(engine: Running, body: bytes, part: float) -> None:
    """Send this part of a request, and hang up."""
    host, port = engine.server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {engine.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[: round(len(body) * part)])
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _read(chunks: AsyncIterator[Any], count: int) -> None:
    for _ in range(count):
        await anext(chunks)


async def _whole(engine: Running, body: bytes) -> None:
    async with asked(engine, body) as answer:
        await answer._response.read()
