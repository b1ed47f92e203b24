"""Moondream 2 on our Transformers server, with a stand-in for its publisher's code: see `moondream_standin`.

Skipped where the environment is not installed: `make engine-transformers`.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog import load_catalog
from tests.models.families import Family
from tests.models.internvl2 import encoded, image, run_in
from tests.models.running import Running, environment_of, running, streamed_text, text_of

HERE = Path(__file__).parent
CARD = Family(tuple(card for card in load_catalog() if card.served_name == "moondream2")).card
TEMPLATE_TOKENS = 3
VISION_TOKENS = 729

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("moondream2")
    run_in(environment_of(CARD), HERE / "moondream_standin", str(folder))
    with running(CARD, folder) as engine:
        yield engine


def red() -> dict[str, Any]:
    return image(encoded(Image.new("RGB", (32, 32), "red")))


def blue() -> dict[str, Any]:
    return image(encoded(Image.new("RGB", (32, 32), "blue")))


async def test_a_picture_and_a_question_are_answered(engine: Running):
    """By both; a picture is as many tokens as the model sees."""
    answers = [
        await engine.answer(*asked, max_tokens=12) for asked in ((red(), "what?"), (blue(), "what?"), (red(), "who"))
    ]
    assert len(set(map(text_of, answers))) == 3
    usage = answers[0]["usage"]
    assert usage["prompt_tokens"] == 1 + VISION_TOKENS + TEMPLATE_TOKENS + len("what?")
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": VISION_TOKENS}
    assert (await engine.answer("what?"))["usage"]["prompt_tokens"] == 1 + TEMPLATE_TOKENS + len("what?")


async def test_a_stream_is_the_whole_answer(engine: Running):
    """Word by word."""
    whole = await engine.answer(red(), "what?", max_tokens=100)
    chunks = await engine.chunks(red(), "what?", max_tokens=100)
    assert streamed_text(chunks) == text_of(whole)
    assert chunks[-1]["usage"] == whole["usage"]
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)


@pytest.mark.parametrize("max_tokens", [1, 7, 100])
async def test_tokens_are_counted_though_words_are_told(engine: Running, max_tokens: int):
    """A byte of this model is a token; the token that ended an answer was computed, too."""
    before = await engine.counters()
    answer = await engine.answer(red(), "what?", max_tokens=max_tokens)
    after = await engine.counters()
    output_tokens = answer["usage"]["completion_tokens"]
    assert after.output_tokens - before.output_tokens == output_tokens
    if answer["choices"][0]["finish_reason"] == "length":
        assert output_tokens == max_tokens
    else:
        assert output_tokens < max_tokens or max_tokens == 1


async def test_questions_that_come_together_are_answered_one_by_one(engine: Running):
    """There is one cache: the answers are those that each gets alone."""
    asks = [(red(), "what?"), (blue(), "what?"), ("what?",), (red(), "who?")]
    alone = [text_of(await engine.answer(*asked)) for asked in asks]
    together = await asyncio.gather(*(engine.answer(*asked) for asked in asks))
    assert list(map(text_of, together)) == alone


async def test_a_seed_is_an_answer(engine: Running):
    """And another is another."""
    texts = [text_of(await engine.answer("what?", temperature=1, seed=seed)) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


async def test_a_stop_ends_the_answer(engine: Running):
    """Though it is found in the middle of a word."""
    text = text_of(await engine.answer("what?", temperature=1, seed=7, max_tokens=200))
    stop = text[10:12]
    answer = await engine.answer("what?", temperature=1, seed=7, max_tokens=200, stop=[stop])
    assert text_of(answer) == text[: text.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_who_leaves_stops_the_work(engine: Running):
    """Before its next token; and the model works as before."""
    expected = text_of(await engine.answer(red(), "what?"))
    before = await engine.counters()
    async with engine.client() as client:
        body = engine.body("what?", max_tokens=1800, temperature=2, seed=1, stream=True)
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await engine.rests()
    assert (await engine.counters()).output_tokens - before.output_tokens < 1800
    assert text_of(await engine.answer(red(), "what?")) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": {"type": "json_object"}}, "this model writes text only"),
        ({"max_tokens": 2048}, "The model's maximum context length is 2048 tokens"),
        ({"messages": [{"role": "system", "content": "be brief"}]}, "there is none"),
    ],
)
async def test_what_it_cannot_do_is_refused(engine: Running, fields: dict[str, Any], message: str):
    assert message in await engine.refusal("what?", **fields)
