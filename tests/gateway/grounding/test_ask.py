"""What a request for boxes or points says, and what the engine is asked instead: over the cards that are shipped."""

from typing import Any

import orjson
import pytest

from catalog import load_catalog
from deployments.gateway.errors import BadRequest
from deployments.gateway.grounding.ask import Kind, for_engine, kind_asked
from deployments.gateway.parameters import check_against_card
from deployments.gateway.request import Chat, parse

CATALOG = load_catalog()
BOXES = {"response_format": {"type": "boxes"}}


def chat(*said: str, **fields: Any) -> Chat:
    """A conversation of the user alone, with an image first."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    contents = [[image, {"type": "text", "text": said[0]}], *said[1:]]
    messages = [{"role": "user", "content": content} for content in contents]
    return parse(orjson.dumps({"model": "m", "messages": messages} | fields))


@pytest.mark.parametrize(
    ("fields", "header", "kind"),
    [
        ({}, None, None),
        (BOXES, None, "boxes"),
        ({"response_format": {"type": "points"}}, None, "points"),
        ({}, "boxes", "boxes"),
        (BOXES, "boxes", "boxes"),
        ({"response_format": {"type": "json_object"}}, "points", "points"),
        ({"response_format": {"type": "json_object"}}, None, None),
    ],
)
def test_places_are_asked_for_in_the_body_or_by_a_header(fields: dict[str, Any], header: str | None, kind: Kind | None):
    assert kind_asked(chat("cat", **fields), header) == kind


@pytest.mark.parametrize(
    ("fields", "header", "param"),
    [
        ({}, "masks", "X-Answer"),
        (BOXES, "points", "X-Answer"),
        ({"response_format": {"type": "boxes", "strict": True}}, None, "response_format.strict"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, Any], header: str | None, param: str):
    with pytest.raises(BadRequest) as refused:
        kind_asked(chat("cat", **fields), header)
    assert refused.value.param == param


@pytest.mark.parametrize("card", CATALOG.cards, ids=lambda card: card.served_name)
@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_a_model_that_writes_no_places_says_so(card: Any, kind: Kind):
    """Which do, the card knows; and those take what is sent to have them write places."""
    if card.grounding and getattr(card.grounding, kind):
        check_against_card(for_engine(chat("cat", response_format={"type": kind}), kind, card), card)
    else:
        with pytest.raises(BadRequest, match=f"does not answer with {kind}") as refused:
            for_engine(chat("cat"), kind, card)
        assert refused.value.param == "response_format"


@pytest.mark.parametrize("model", ["qwen2-vl-7b-instruct", "qwen2.5-vl-7b-instruct", "internvl2-2b", "moondream2"])
def test_the_engine_never_sees_our_response_format(model: str):
    assert "response_format" not in for_engine(chat("cat", **BOXES), "boxes", CATALOG.find(model)).data


def test_another_response_format_travels_on():
    """A schema for the text, and the boxes asked for by the header."""
    asked = chat("cat", response_format={"type": "json_object"})
    sent = for_engine(asked, "boxes", CATALOG.find("qwen2.5-vl-7b-instruct"))
    assert sent.data["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("model", "keeps"),
    [
        ("qwen2-vl-7b-instruct", {"skip_special_tokens": False}),
        ("internvl2-2b", {"skip_special_tokens": False}),
        ("qwen-vl-chat", {"skip_special_tokens": False}),
        ("qwen2.5-vl-7b-instruct", {}),  # JSON
        ("paligemma-3b-mix-448", {}),  # locations are ordinary tokens
    ],
)
def test_marks_that_are_special_tokens_stay_in_the_text(model: str, keeps: dict[str, Any]):
    sent = for_engine(chat("cat"), "boxes", CATALOG.find(model)).data
    assert {name: value for name, value in sent.items() if name == "skip_special_tokens"} == keeps


def test_leaving_the_marks_out_is_refused():
    with pytest.raises(BadRequest) as refused:
        for_engine(chat("cat", skip_special_tokens=True), "boxes", CATALOG.find("qwen2-vl-7b-instruct"))
    assert refused.value.param == "skip_special_tokens"


@pytest.mark.parametrize(
    ("model", "kind", "said", "sent"),
    [
        ("paligemma-3b-mix-448", "boxes", ["cat ; dog"], ["detect cat ; dog"]),
        ("paligemma-3b-mix-448", "boxes", ["detect cat"], ["detect cat"]),
        ("paligemma2-3b-mix-448", "boxes", ["hello", "cat"], ["hello", "detect cat"]),
        ("moondream2", "boxes", ["cat"], ["detect cat"]),
        ("moondream2", "points", ["cat"], ["point cat"]),
        ("qwen2-vl-7b-instruct", "boxes", ["Where is the cat?"], ["Where is the cat?"]),
        ("qwen2.5-vl-7b-instruct", "points", ["Where is the cat?"], ["Where is the cat?"]),
    ],
)
def test_models_with_task_words_get_them(model: str, kind: Kind, said: list[str], sent: list[str]):
    """Before the last text of the user; the others are asked in the caller's own words."""
    messages = for_engine(chat(*said), kind, CATALOG.find(model)).data["messages"]
    texts = [message["content"] for message in messages]
    assert [text if isinstance(text, str) else text[-1]["text"] for text in texts] == sent
