import itertools
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.gateway import answer
from deployments.gateway.bill import Bill
from deployments.gateway.transcript import Transcript, retold
from tests.gateway.engine_server import chunks, whole

ENVELOPE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
TEXT_FIELDS = ("content", "refusal", "reasoning", "reasoning_content")
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": "left"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "count", "arguments": "{}"}},
]


def streamed(*deltas: dict[str, Any], finish: str = "stop") -> list[dict[str, Any]]:
    """The chunks of an answer."""
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices[-1]["finish_reason"] = finish
    return [ENVELOPE | {"choices": [choice]} for choice in choices]


def called(index: int, **delta: Any) -> dict[str, Any]:
    """A part of a tool call."""
    return {"tool_calls": [{"index": index} | delta]}


def folded(parts: list[dict[str, Any]], bill: Bill) -> dict[str, Any]:
    transcript = Transcript()
    for part in parts:
        transcript.add(part)
    return orjson.loads(transcript.encoded(bill))


def message_of(data: dict[str, Any]) -> dict[str, Any]:
    return data["choices"][0]["message"]


def events(stream: bytes) -> list[Any]:
    payloads = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n") if event]
    assert payloads[-1] == b"[DONE]"
    return [orjson.loads(payload) for payload in payloads[:-1]]


@st.composite
def split(draw: st.DrawFn, text: str) -> list[str]:
    """The text in parts, wherever they are cut."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]


async def test_a_stream_amounts_to_the_whole_answer(bill: Bill):
    """The same bytes that the request would have got without streaming."""
    kept = Transcript()
    for part in chunks()[:-1]:
        kept.add(part)
    assert orjson.loads(kept.encoded(bill)) == orjson.loads(answer.whole(whole(), bill, bill.charge()))


@pytest.mark.parametrize("field", TEXT_FIELDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_it_does_not_matter_where_a_text_is_cut(bill: Bill, field: str, data: st.DataObject):
    """However an engine divides it, in order it is the same text."""
    text = data.draw(st.text(min_size=1))
    parts = streamed({"role": "assistant"}, *({field: part} for part in data.draw(split(text))))
    assert message_of(folded(parts, bill))[field] == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_it_does_not_matter_where_a_tool_call_is_cut(bill: Bill, data: st.DataObject):
    """Its id and name come first, its arguments bit by bit; the parts of several calls may be mixed."""
    queues = []
    for index, call in enumerate(CALLS):
        function = call["function"]
        first = called(index, id=call["id"], type="function", function={"name": function["name"], "arguments": ""})
        rest = [called(index, function={"arguments": part}) for part in data.draw(split(function["arguments"]))]
        queues.append([first, *rest])
    turns = data.draw(st.permutations([index for index, queue in enumerate(queues) for _ in queue]))
    deltas = [queues[turn].pop(0) for turn in turns]
    parts = streamed({"role": "assistant", "content": None}, *deltas, finish="tool_calls")
    kept = folded(parts, bill)
    assert message_of(kept)["tool_calls"] == CALLS
    assert kept["choices"][0]["finish_reason"] == "tool_calls"


async def test_what_an_engine_says_more_of_a_tool_call_is_left_out(bill: Bill):
    """It ends no stream."""
    parts = streamed(called(0, id="call_1", function={"name": "look", "arguments": None, "strict": True}))
    assert message_of(folded(parts, bill))["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
    ]


async def test_log_probabilities_are_collected(bill: Bill):
    """One entry a token, in order, as a whole answer has them."""
    parts = streamed({"content": "A "}, {"content": "cat"}, {})
    parts[0]["choices"][0]["logprobs"] = {"content": [{"token": "A "}]}
    parts[1]["choices"][0]["logprobs"] = {"content": [{"token": "cat"}]}
    assert folded(parts, bill)["choices"][0]["logprobs"] == {"content": [{"token": "A "}, {"token": "cat"}]}


async def test_a_part_of_an_answer_is_kept_as_far_as_it_came(bill: Bill):
    """A client that left is told again what it paid for: no finish reason, because there was none."""
    (choice,) = folded(chunks()[:2], bill)["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "A "},
        "logprobs": None,
        "finish_reason": None,
    }


@pytest.mark.parametrize(
    "parts",
    [
        chunks()[:-1],
        chunks()[:2],
        streamed({"role": "assistant", "content": ""}, {"refusal": "No."}),
        streamed(called(0, **CALLS[0]), called(1, **CALLS[1]), finish="tool_calls"),
    ],
    ids=["text", "a part", "refusal", "tool calls"],
)
async def test_what_is_told_again_amounts_to_the_same(bill: Bill, parts: list[dict[str, Any]]):
    """Folding and telling again are inverse, but for where the chunks are cut."""
    kept = folded(parts, bill)
    (again,) = events(retold(orjson.dumps(kept).decode(), with_usage=False))
    assert folded([again], bill) == kept
    assert again["usage"] is None


async def test_an_answer_is_told_again_in_one_chunk(bill: Bill):
    """In the shapes of a stream, under its first id; the usage in a chunk of its own, if it is asked for."""
    kept = folded(chunks()[:-1], bill)
    chunk, last = events(retold(orjson.dumps(kept).decode(), with_usage=True))
    assert {chunk["object"], last["object"]} == {"chat.completion.chunk"}
    assert {chunk["id"], last["id"]} == {kept["id"]}
    assert chunk["choices"][0]["delta"] == {"role": "assistant", "content": "A red circle."}
    assert chunk["choices"][0]["finish_reason"] == "stop"
    assert (last["choices"], last["usage"]) == ([], kept["usage"])


async def test_tool_calls_told_again_are_numbered(bill: Bill):
    """OpenAI's clients put a call together by its index."""
    kept = folded(streamed(called(0, **CALLS[0]), called(1, **CALLS[1])), bill)
    (chunk,) = events(retold(orjson.dumps(kept).decode(), with_usage=False))
    assert chunk["choices"][0]["delta"]["tool_calls"] == [{"index": i} | call for i, call in enumerate(CALLS)]
