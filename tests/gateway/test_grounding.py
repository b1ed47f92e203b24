"""Boxes asked for through the whole gateway: what the engine is asked, what the client gets, what is kept and charged."""

from pathlib import Path
from typing import Any

import pytest

from catalog.card import Grounding
from tests.gateway import house as house_module
from tests.gateway.engine_server import chunks, says, whole
from tests.gateway.house import CARD, STREAM, House, charge_nano, question, running_house

WORDS = ("<|object_ref_start|>cat<|object_ref_end|>", "<|box_start|>(100,200),", "(300,400)<|box_end|>")
CAT = {"label": "cat", "x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}
BOXES = {"response_format": {"type": "boxes"}}


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its model writes boxes as Qwen2-VL does."""
    card = CARD.model_copy(update={"grounding": Grounding(format="qwen2_vl", boxes=True)})
    monkeypatch.setattr(house_module, "CARD", card)
    async with running_house(tmp_path) as house:
        house.engine.behaves = says(whole(WORDS), chunks(WORDS))
        yield house


async def test_boxes_come_beside_the_untouched_text(house: House):
    """And cost what the answer costs."""
    client = await house.ask(question(**BOXES))
    message = client.json["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "".join(WORDS), "boxes": [CAT]}
    assert await house.charges_nano() == [charge_nano(len(WORDS))]


async def test_the_engine_never_sees_our_response_format(house: House):
    """It is told to leave the marks in the text instead."""
    await house.ask(question(**BOXES))
    (asked,) = house.engine.asked
    assert "response_format" not in asked
    assert asked["skip_special_tokens"] is False


async def test_the_header_asks_for_the_same(house: House):
    client = await house.ask(question(), **{"x-answer": "boxes"})
    assert client.json["choices"][0]["message"]["boxes"] == [CAT]


async def test_an_answer_that_was_not_asked_for_boxes_has_none(house: House):
    """Nor is its engine asked otherwise."""
    client = await house.ask(question())
    assert client.json["choices"][0]["message"] == {"role": "assistant", "content": "".join(WORDS)}
    assert "skip_special_tokens" not in house.engine.asked[0]


async def test_a_stream_has_the_boxes_before_the_usage(house: House):
    client = await house.ask(question(**BOXES, **STREAM))
    *content, places, usage, _ = client.events
    assert places["choices"][0]["delta"] == {"boxes": [CAT]}
    assert usage["choices"] == []
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in content) == "".join(WORDS)


@pytest.mark.parametrize("stream", [{}, STREAM])
async def test_an_answer_that_is_told_again_has_its_boxes(house: House, stream: dict[str, Any]):
    """Streamed or not, as the first time."""
    again = {"idempotency-key": "once"}
    await house.ask(question(**BOXES, **stream), **again)
    client = await house.ask(question(**BOXES, **stream), **again)
    assert client.headers["x-idempotent-replay"] == "true"
    choice = (client.events[0] if stream else client.json)["choices"][0]
    assert (choice.get("delta") or choice["message"])["boxes"] == [CAT]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"response_format": {"type": "points"}}, "This model does not answer with points. Ask for text."),
        (BOXES | {"messages": [{"role": "user", "content": "cat"}]}, "'boxes' are places of one image. Send one, and no video."),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_before_it_costs(house: House, fields: dict[str, Any], message: str):
    client = await house.ask(question(**fields))
    assert (client.status, client.json["error"]["param"]) == (400, "response_format")
    assert client.json["error"]["message"] == message
    assert house.engine.asked == []
    assert await house.usage() == []
