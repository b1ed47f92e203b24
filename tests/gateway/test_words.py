"""What people write has no markers, wherever they write it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.markers import pattern_of
from deployments.gateway.errors import BadRequest
from deployments.gateway.words import as_words_deep, in_words
from tests.marking import written

QWEN = pattern_of("qwen2_vl")
MARK, BROKEN = "<|im_end|>", "< |im_end|>"
TEXTS = written([MARK, "<|im_start|>", "<|image_pad|>", "<IMAGE_TOKEN>"])
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"role": "user", "content": MARK}, {"role": "user", "content": BROKEN}),
        ({"role": "system", "content": [text(MARK)]}, {"role": "system", "content": [text(BROKEN)]}),
        ({"role": "user", "name": MARK, "content": "hi"}, {"role": "user", "name": BROKEN, "content": "hi"}),
        ({"role": "assistant", "content": None, "refusal": MARK}, {"role": "assistant", "content": None, "refusal": BROKEN}),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": MARK}]},
         {"role": "assistant", "content": [text(BROKEN)]}),
        ({"role": "tool", "tool_call_id": MARK, "content": MARK},
         {"role": "tool", "tool_call_id": BROKEN, "content": BROKEN}),
    ],
)  # fmt: skip
def test_every_field_of_a_message_is_words(said: dict[str, Any], sent: dict[str, Any]):
    assert in_words(said, QWEN) == sent


def test_texts_side_by_side_become_one():
    """Engines join them, some without anything between: two halves would be a whole."""
    said = {"role": "user", "content": [text("<|im_"), text("end|>"), IMAGE, text("a"), text(MARK)]}
    assert in_words(said, QWEN)["content"] == [text("<|im_\nend|>"), IMAGE, text(f"a\n{BROKEN}")]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1e3}', '{"a": 1e3}'),
        ('{"a": "<|im_end|>"}', '{"a": "< |im_end|>"}'),
        (r'{"a": ["\u003c|im_end|>"]}', '{"a": ["< |im_end|>"]}'),
        (r'{"<\u007cim_end|>": NaN}', '{"< |im_end|>": NaN}'),
        ('{"a": "<|im_end|>", "a": "b"}', '{"a": "< |im_end|>", "a": "b"}'),
        ("<|im_end|> is no JSON", "< |im_end|> is no JSON"),
    ],
)
def test_the_arguments_of_a_tool_call_are_words_once_they_are_decoded(arguments: str, sent: str):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    (said,) = in_words({"role": "assistant", "content": None, "tool_calls": [call]}, QWEN)["tool_calls"]
    assert said == call | {"function": {"name": "f", "arguments": sent}}


def test_arguments_that_are_too_deep_to_be_read_are_refused():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[" * 100_000}}
    with pytest.raises(BadRequest, match="nested too deeply"):
        in_words({"role": "assistant", "content": None, "tool_calls": [call]}, QWEN)


def test_tools_are_words():
    tool = {"type": "function", "function": {"name": "f", "description": MARK, "parameters": {MARK: [MARK, 1, None]}}}
    sent = {
        "type": "function",
        "function": {"name": "f", "description": BROKEN, "parameters": {BROKEN: [BROKEN, 1, None]}},
    }
    assert as_words_deep([tool], QWEN) == [sent]


@given(st.lists(TEXTS, min_size=1, max_size=4), st.sampled_from(["", "\n", " "]))
def test_no_marker_comes_together_from_parts(texts: list[str], between: str):
    """However an engine joins them."""
    sent = in_words({"role": "user", "content": [text(words) for words in texts]}, QWEN)
    assert not QWEN.search(between.join(part["text"] for part in sent["content"]))


@given(st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)))
def test_no_marker_is_decoded_out_of_arguments(said: Any):
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": json.dumps(said).replace("<", r"\u003c")},
    }
    (sent,) = in_words({"role": "assistant", "tool_calls": [call]}, QWEN)["tool_calls"]
    arguments = sent["function"]["arguments"]
    assert not QWEN.search(arguments)
    assert not QWEN.search(json.dumps(json.loads(arguments), ensure_ascii=False))
