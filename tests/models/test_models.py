"""Every card's architecture on its engine, on a CPU: started by our launcher and our supervision, tiny, answering noise.

What is true of one is true of all. `make test-models` runs it and keeps the table; it takes long, so nothing else does.
"""

import asyncio
import base64
import json
import math
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from PIL import Image

from catalog import ModelCard
from catalog.vision import Moondream, PaliGemma, SmolVlm2, UnsupportedSize
from deployments.gateway.engine_refusal import ImageRefused, refusal
from deployments.gateway.errors import BadRequest, ContextTooLong
from tests.models.families import Family, families
from tests.models.internvl2 import encoded, image, picture
from tests.models.running import USAGE_IN_CHUNKS, Running, running, streamed_text, text_of
from tests.models.video import clip_of_frames

REFUSED = "refused"
# This vLLM tells the tokens of a prompt, but not which are an image's.
TELLS_NO_IMAGES = "0.23.0"
SIZES, AT_ONCE = 300, 16
# Of most pictures, and of every twentieth: a tiny model sees large ones no faster than a real one's processor does.
SIDE_PX_MAX, LARGE_PX_MAX, LARGE_EVERY = 512, 2048, 20

pytestmark = pytest.mark.models


@pytest.fixture(scope="module", params=families(), ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def engine(family: Family, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(family.card, family.weights(tmp_path_factory.mktemp("weights"))) as engine:
        yield engine


def flat(width_px: int, height_px: int, seed: int) -> dict[str, Any]:
    """A picture that is cheap to send: one colour."""
    return image(encoded(Image.new("RGB", (width_px, height_px), tuple(random.Random(seed).randbytes(3)))))


@pytest.mark.cell("text")
async def test_a_text_is_answered(engine: Running):
    answer = await engine.answer("hello", max_tokens=8)
    usage = answer["usage"]
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert 0 < usage["completion_tokens"] <= 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.cell("one image")
async def test_an_image_is_answered(engine: Running):
    """Greedy, so twice the same."""
    asked = [image(picture(300, 200)), "what is it?"]
    first, second = [await engine.answer(*asked, max_tokens=12) for _ in range(2)]
    assert text_of(first) == text_of(second)
    assert first["usage"]["prompt_tokens"] > engine.card.vision.see(300, 200).vision_tokens


@pytest.mark.cell("several images")
async def test_several_images_are_answered_or_refused(engine: Running, record_property: Any):
    """As many as the card allows; one more is refused by the engine, too. LMDeploy cannot be told a number, and takes it."""
    most, sizes = engine.card.inputs.images_max, [(300, 200), (224, 224)]
    if most > 1:
        answer = await engine.answer(*(image(picture(*size)) for size in sizes), "compare", max_tokens=8)
        assert answer["usage"]["prompt_tokens"] > sum(engine.card.vision.see(*size).vision_tokens for size in sizes)
    else:
        record_property("seen", REFUSED)
    response = await engine.chat(*(flat(32, 32, n) for n in range(most + 1)), "compare", max_tokens=8)
    assert response.status_code == (200 if engine.card.engine.name == "lmdeploy" else 400)


@pytest.mark.cell("video")
async def test_a_video_is_answered_or_refused(engine: Running, record_property: Any):
    clip = [clip_of_frames(4, 320, 240), "what happens?"]
    if engine.card.inputs.video:
        usage = (await engine.answer(*clip, max_tokens=8))["usage"]
        assert usage["prompt_tokens_details"]["multimodal_tokens"] == {
            "video": engine.card.vision.see_video(4, 320, 240).vision_tokens
        }
    else:
        record_property("seen", REFUSED)
        assert (await engine.chat(*clip, max_tokens=8)).status_code == 400


@pytest.mark.cell("stream")
async def test_a_stream_is_the_whole_answer(engine: Running):
    """Its usage grows with every chunk, and ends as that of the whole answer."""
    asked = [image(picture(224, 224)), "what is it?"]
    whole = await engine.answer(*asked, max_tokens=24)
    chunks = await engine.chunks(*asked, max_tokens=24)
    assert streamed_text(chunks) == text_of(whole)
    *told, last = [chunk["usage"] for chunk in chunks]
    counts = [usage["completion_tokens"] for usage in told]
    assert counts == sorted(counts)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert last[name] == whole["usage"][name]


@pytest.mark.cell("JSON schema")
async def test_a_schema_is_kept_or_refused(engine: Running, record_property: Any):
    """With some heat: a greedy model of noise would write blanks for ever, which JSON allows."""
    if "response_format" not in engine.card.supported_parameters:
        record_property("seen", REFUSED)
        return
    schema = {"type": "object", "properties": {"shape": {"enum": ["circle", "square"]}}}
    schema |= {"required": ["shape"], "additionalProperties": False}
    response_format = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    fields = {"temperature": 1, "max_tokens": 200, "response_format": response_format}
    asked = [image(picture(224, 224)), "what is it?"]
    answers = await asyncio.gather(*(engine.answer(*asked, seed=seed, **fields) for seed in range(4)))
    things = [json.loads(text_of(answer)) for answer in answers if answer["choices"][0]["finish_reason"] == "stop"]
    assert things
    assert all(thing["shape"] in ("circle", "square") for thing in things)


@pytest.mark.cell("stop")
async def test_a_stop_ends_the_answer(engine: Running):
    """Before it; the tokens that it took are counted."""
    asked, fields = [image(picture(224, 224)), "what is it?"], {"max_tokens": 64, "temperature": 1, "seed": 1}
    text = text_of(await engine.answer(*asked, **fields))
    stop = text[2:4]
    answer = await engine.answer(*asked, stop=[stop], **fields)
    assert text_of(answer) == text[: text.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert 0 < answer["usage"]["completion_tokens"] < 64


@pytest.mark.cell("errors")
async def test_what_cannot_be_read_is_refused(engine: Running):
    """In words that the gateway acts upon, see `deployments/gateway/engine.py`."""
    assert isinstance(
        _refusal_of(await engine.chat(image(base64.b64encode(b"no picture").decode()), "what")), ImageRefused
    )
    too_long = "hello " * engine.card.context_tokens
    assert isinstance(_refusal_of(await engine.chat(too_long)), ContextTooLong)
    assert isinstance(_refusal_of(await engine.chat("hello", temperature=-1)), BadRequest)


@pytest.mark.cell("leaving")
async def test_who_leaves_stops_the_work(engine: Running):
    """Whole or streamed: the engine has nothing to do, long before these answers would be written."""
    await engine.rests()
    before = await engine.counters()
    most = engine.card.context_tokens // 2
    if engine.card.vision.vision_tokens_max > most:
        most = engine.card.context_tokens - engine.card.vision.vision_tokens_max - 200

    async def leave(streamed: bool) -> None:
        fields = {"max_tokens": most, "temperature": 1, "stream": streamed}
        if "ignore_eos" in engine.card.supported_parameters:
            fields["ignore_eos"] = True
        async with engine.client() as client:
            body = engine.body(image(picture(224, 224)), "hello", **fields)
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            await asyncio.sleep(0.5)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*map(leave, [True, False]))
    await engine.rests()
    after = await engine.counters()
    assert after.output_tokens - before.output_tokens < 2 * most


@pytest.mark.cell("usage")
async def test_vision_tokens_are_our_formula(engine: Running):
    """On 300 random sizes, whole and streamed: what the engine tells apart, and what is left of the prompt."""
    sizes = list(_sizes(engine))
    vision = [engine.card.vision.see(*size).vision_tokens for size in sizes]
    delimiters = [_delimiters(engine.card, *size) for size in sizes]
    asking = asyncio.Semaphore(AT_ONCE)

    async def usage_of(number: int, streamed: bool) -> dict[str, Any]:
        fields = {"max_tokens": 1, "stream": streamed} | ({"stream_options": USAGE_IN_CHUNKS} if streamed else {})
        body = engine.body(flat(*sizes[number], number), "?", **fields)
        async with asking:
            response = await client.post("/v1/chat/completions", json=body)
        assert response.status_code == 200, (sizes[number], response.text)
        last = response.text.removesuffix("\n\ndata: [DONE]\n\n").split("\n\n")[-1]
        return json.loads(last.removeprefix("data: "))["usage"]

    async with engine.client() as client:
        for streamed in (False, True):
            usages = await asyncio.gather(*(usage_of(number, streamed) for number in range(SIZES)))
            prompts = [usage["prompt_tokens"] for usage in usages]
            rest = {prompt - sum(ours) for prompt, *ours in zip(prompts, vision, delimiters, strict=True)}
            assert len(rest) == 1, "the text is always the same"
            if engine.card.engine.version != TELLS_NO_IMAGES:
                told = [usage["prompt_tokens_details"]["multimodal_tokens"]["image"] for usage in usages]
                counts_them = engine.card.engine.name == "vllm"
                assert told == ([sum(ours) for ours in zip(vision, delimiters, strict=True)] if counts_them else vision)


def _delimiters(card: ModelCard, width_px: int, height_px: int) -> int:
    """What stands around an image's vision tokens in the prompt; vLLM counts it with them."""
    match card.vision:
        case PaliGemma() | Moondream():
            return 1
        case SmolVlm2(tile_px=tile_px):
            seen = card.vision.see(width_px, height_px)
            rows, columns = seen.height_px // tile_px, seen.width_px // tile_px
            return 2 * rows * columns + rows + 4 if rows * columns > 1 else 3
    return 0


def _sizes(engine: Running) -> Iterator[tuple[int, int]]:
    """Small and large, square and long."""
    chance = random.Random(0)
    found = 0
    while found < SIZES:
        longest = SIDE_PX_MAX if found % LARGE_EVERY else LARGE_PX_MAX
        size = round(2 ** chance.uniform(3, math.log2(longest))), round(2 ** chance.uniform(3, math.log2(longest)))
        with suppress(UnsupportedSize):
            engine.card.vision.see(*size)
            found += 1
            yield size


def _refusal_of(response: httpx.Response) -> Exception:
    return refusal(response.status_code, response.content, 0)
