"""What the gateway makes of media, seen by the real engine: the demo model in vLLM."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from PIL import Image

from catalog import load_catalog
from demo.generate import Example, examples
from deployments.files.file import Owner
from deployments.gateway.engine import engine_request
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.media.picture import Picture
from deployments.gateway.request import parse
from tests.gateway.media.samples import clip, data_url, saved
from tests.models.running import Running, running, text_of

pytestmark = pytest.mark.engine

DEMO = load_catalog().find("demo-qwen2-vl")
# The rate of a video's frames differs from request to request; the gateway is the only one that vLLM hears it from.
OPTIONS = DEMO.engine.options | {"trust-request-mm-kwargs": True}
CARD = DEMO.model_copy(
    update={
        "inputs": DEMO.inputs.model_copy(update={"video": True}),
        "engine": DEMO.engine.model_copy(update={"options": OPTIONS}),
    }
)
HELD_OUT_SEED = 1_000_500
# Of a large photo with the same content: shrinking it is worth a decoding.
LARGE_PX = 1_400


@pytest.fixture(scope="module")
def engine() -> Iterator[Running]:
    with running(CARD, Path("demo/qwen2-vl").absolute()) as server:
        yield server


def question(example: Example, data: bytes) -> dict[str, Any]:
    parts = [
        {"type": "image_url", "image_url": {"url": data_url(data)}},
        {"type": "text", "text": example.question},
    ]
    return asked(parts)


def asked(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": parts}], "temperature": 0}


async def through_the_gateway(body: dict[str, Any], org: str = "org") -> tuple[dict[str, Any], list[Picture]]:
    """The body as the engine gets it."""
    chat = parse(orjson.dumps(body))
    pictures = await Media(Fetcher(FetchLimits())).load(chat.request, CARD, Owner(org, "project"))
    return engine_request(chat, CARD, pictures, 16), pictures


async def answers(engine: Running, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async with engine.client() as client:

        async def ask(body: dict[str, Any]) -> dict[str, Any]:
            response = await client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200, response.text
            return response.json()

        return await asyncio.gather(*map(ask, bodies))


async def test_a_shrunk_image_gets_the_same_answer(engine: Running):
    """The engine's processor would have shrunk it in the same way: same answers, and not a token more or less."""
    shown = list(examples(HELD_OUT_SEED, 48))
    bodies = [
        question(example, saved(example.image.resize((LARGE_PX, LARGE_PX), Image.Resampling.BICUBIC)))
        for example in shown
    ]
    bare = [body | {"model": CARD.served_name, "max_tokens": 16} for body in bodies]
    shrunk = [await through_the_gateway(body) for body in bodies]
    assert all(
        len(pictures[0].data_url) < len(str(body)) / 4 for body, (_, pictures) in zip(bodies, shrunk, strict=True)
    )
    told, told_shrunk = await answers(engine, bare), await answers(engine, [body for body, _ in shrunk])
    assert list(map(text_of, told_shrunk)) == list(map(text_of, told))
    assert [answer["usage"]["prompt_tokens"] for answer in told_shrunk] == [
        answer["usage"]["prompt_tokens"] for answer in told
    ]
    right = sum(text_of(answer) == example.answer for answer, example in zip(told_shrunk, shown, strict=True))
    assert right >= 0.8 * len(shown)


async def test_an_image_is_known_again_by_its_name(engine: Running):
    """vLLM's cache hits go by the name that the gateway gives: the same for an organisation, another for another."""
    (example,) = examples(HELD_OUT_SEED + 1, 1)
    body = question(example, saved(example.image))
    (mine, _), (others, _) = await through_the_gateway(body), await through_the_gateway(body, org="other")
    hits = await cache_hits(engine)
    await answers(engine, [mine])
    assert await cache_hits(engine) == hits
    await answers(engine, [mine])
    assert await cache_hits(engine) == hits + 1
    await answers(engine, [others])
    assert await cache_hits(engine) == hits + 1


async def cache_hits(engine: Running) -> float:
    """Images that the engine had processed before."""
    async with httpx.AsyncClient() as client:
        headers = {"authorization": f"Bearer {engine.token}"}
        lines = (await client.get(engine.server.url + "/metrics", headers=headers)).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:mm_cache_hits_total"))


async def test_two_images_never_answer_for_each_other(engine: Running):
    """Asked at the same time, in turn, again: each has its own name, whatever a client would call it."""
    shown = [example for example in examples(HELD_OUT_SEED + 2, 60) if example.task == "name"][:8]
    bodies = [(await through_the_gateway(question(example, saved(example.image))))[0] for example in shown]
    alone = [text_of((await answers(engine, [body]))[0]) for body in bodies]
    assert len(set(alone)) > 4
    assert list(map(text_of, await answers(engine, bodies * 3))) == alone * 3


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
async def test_a_video_takes_the_tokens_that_it_was_priced_at(engine: Running, kind: str):
    """And the engine reads our frames."""
    parts = [
        {"type": "video_url", "video_url": {"url": data_url(clip(kind, seconds=5), "video/mp4")}},
        {"type": "text", "text": "What is in the image?"},
    ]
    body, (video,) = await through_the_gateway(asked(parts))
    (answer,) = await answers(engine, [body])
    assert video.frames == 10
    assert answer["usage"]["prompt_tokens_details"]["multimodal_tokens"] == {"video": video.vision_tokens}
