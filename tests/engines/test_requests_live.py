"""Whatever a request says, the engine lives: asked straight, past all that the gateway would refuse.

Skipped for an engine whose environment is not installed.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog import ModelCard, load_catalog
from catalog.catalog import load_card
from tests.engines.asking import requests
from tests.models.internvl2 import image, picture, run_in
from tests.models.running import Running, environment_of, running, text_of

CHECKOUT = Path(__file__).parents[2]
CARDS = {
    "vllm": load_catalog().find("demo-qwen2-vl"),
    "lmdeploy": load_catalog().find("demo-internvl2"),
    "transformers": load_card(CHECKOUT / "tests" / "models" / "tiny-smolvlm2.yaml"),
}
QUESTION = "What is in the image?"
AT_ONCE, TOGETHER = 8, 200

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", params=[*CARDS])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    card = CARDS[request.param]
    with running(card, weights_of(card, tmp_path_factory)) as engine:
        yield engine


def weights_of(card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if is_demo(card):
        return CHECKOUT / str(card.source.path)
    folder = tmp_path_factory.mktemp("weights")
    run_in(environment_of(card), CHECKOUT / "tests" / "models" / "tiny_vlms", "smolvlm2", str(folder))
    return folder


def is_demo(card: ModelCard) -> bool:
    return card.served_name.startswith("demo-")


def example(card: ModelCard) -> dict[str, Any]:
    """A picture, of which the demo models say what it is."""
    demo = base64.b64encode((CHECKOUT / "demo" / "example.png").read_bytes()).decode()
    return image(demo) if is_demo(card) else image(picture(112, 112))


async def test_whatever_a_request_says_the_engine_lives(engine: Running):
    """Every edge of every parameter, alone and together: an answer, or an error that is the caller's. `/health` is 200 after
    each, and at the end a plain question has the answer that it had before.
    """
    picture_of_it = example(engine.card)
    before = text_of(await engine.answer(picture_of_it, QUESTION))
    room, faults = asyncio.Semaphore(AT_ONCE), []
    async with engine.client() as client:

        async def ask(body: bytes) -> None:
            async with room:
                try:
                    answer = await client.post("/v1/chat/completions", content=body)
                    health = await client.get("/health")
                except httpx.HTTPError as error:
                    faults.append((body[-200:], repr(error)))
                    return
            if answer.status_code >= 500 or health.status_code != 200:
                faults.append((body[-200:], answer.status_code, answer.text[:300], health.status_code))

        await asyncio.gather(*map(ask, requests(engine.body("hello", max_tokens=8), TOGETHER, seed=15)))
    assert not faults, faults[:10]
    assert text_of(await engine.answer(picture_of_it, QUESTION)) == before


async def test_json_comes_to_its_end(engine: Running):
    """Also from a model of noise: white space, which JSON allows without end, is not among its choices."""
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    answer = await engine.answer(example(engine.card), QUESTION, response_format=asked, max_tokens=60)
    thing = json.loads(text_of(answer))
    assert thing["colour"] in ("red", "blue")
    assert thing["count"] in range(10)
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_schema_that_nothing_can_keep_to_is_the_callers_error(engine: Running):
    """It has a name, and the next one is answered."""
    for schema in ({"$ref": "#"}, {"type": "?"}, {"enum": []}, {"type": "string", "minLength": -5}):
        response = await engine.chat(
            "hello", response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        )
        assert (response.status_code, response.json()["error"]["param"]) == (400, "response_format"), schema
    await engine.answer("hello", max_tokens=1)
