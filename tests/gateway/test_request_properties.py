"""Whatever JSON is sent: it is read, or refused by the name of a field; nothing of it is repeated, and what an engine gets is
bounded.
"""

import json
import typing
from typing import Any

import openai.types.chat.completion_create_params as openai_params
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage

from catalog import ModelCard, load_catalog
from deployments.gateway.engine import engine_request
from deployments.gateway.errors import BadRequest
from deployments.gateway.parameters import check_against_card, without_neutral
from deployments.gateway.request import AssistantMessage, ChatRequest, ImageUrl, Text, ToolCall, UserMessage, parse

SECRET = "correct-horse"
CARDS = load_catalog().cards
# Of OpenAI's, those that ask for what there is not, by name; all others are taken.
REFUSED = {"audio", "function_call", "functions", "web_search_options", "moderation", "prompt_cache_options"}

# Where engines have met their end.
edges = st.sampled_from([0, 1, -1, 0.5, 511, 10**6, 2**31, 2**63, 1e-320, 1e-6, 1e300])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | edges
sampling = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "min_tokens"), edges),
        "stop_token_ids": st.lists(edges, max_size=3),
        "logit_bias": st.dictionaries(edges.map(str), edges, max_size=3),
        "stop": st.lists(st.sampled_from(["", "a"]), max_size=3),
    },
)
scalars = (
    st.none() | st.booleans() | numbers | st.sampled_from([SECRET, "", "auto", "none", "text", "user", "json_schema"])
)
names = st.sampled_from(
    sorted(
        {
            "schema",
            "parameters",
            "json_schema",
            "function",
            "$ref",
            "anyOf",
            "allOf",
            "pattern",
            "properties",
            "items",
            "enum",
        }
        | {
            name
            for form in (ChatRequest, UserMessage, AssistantMessage, ToolCall, Text, ImageUrl)
            for name in form.model_fields
        }
    )
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": st.just("hi")})
    | st.dictionaries(names, values, max_size=4),
    min_size=1,
    max_size=3,
)
fields = st.sampled_from(sorted(set(ChatRequest.model_fields) - {"model", "messages"}))
HI = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
requests = st.one_of(
    sampling.map(lambda said: HI | said),
    st.dictionaries(fields, values, max_size=3).map(lambda said: HI | said),
    (messages | values).map(lambda said: HI | {"messages": said}),
)


@settings(max_examples=600, deadline=None)
@given(requests, st.sampled_from(CARDS))
def test_a_request_is_read_or_refused_by_the_name_of_a_field(sent: dict[str, Any], card: ModelCard):
    """By what every model takes, or by its own card."""
    refused: list[BadRequest] = []
    try:
        chat = without_neutral(parse(json.dumps(sent).encode()), card)
        check_against_card(chat, card)
        _check_engine_request(engine_request(chat, card, [], 16), card.vocabulary_tokens)
    except BadRequest as error:
        refused.append(error)
    assert all(error.param and SECRET not in error.message for error in refused)


def _check_engine_request(body: dict[str, Any], vocabulary_tokens: int) -> None:
    assert body.keys() <= set(ChatRequest.model_fields)
    assert None not in body.values()
    assert not 0 < body.get("temperature", 1) < 1e-5
    assert body.get("top_p", 1) >= 1e-5
    assert 0.01 <= body.get("repetition_penalty", 1) <= 100
    assert -1 <= body.get("top_k", 0) <= vocabulary_tokens
    assert abs(body.get("seed", 0)) < 2**63
    assert all(0 <= token_id < vocabulary_tokens for token_id in body.get("stop_token_ids", ()))
    assert all(0 <= int(token_id) < vocabulary_tokens for token_id in body.get("logit_bias", ()))
    stop = body.get("stop", [])
    assert all([stop] if isinstance(stop, str) else stop)


def test_every_field_that_openais_package_knows_is_taken_or_refused_by_name():
    """A field that is new there has to be decided upon here."""
    theirs = set(typing.get_type_hints(openai_params.CompletionCreateParamsStreaming))
    assert theirs - set(ChatRequest.model_fields) <= REFUSED


@pytest.mark.parametrize("exclude_unset", [False, True])
@pytest.mark.parametrize("refusal", [None, "No."])
def test_a_message_is_taken_back_as_openais_package_dumps_it(exclude_unset: bool, refusal: str | None):
    """With its nulls and what it has beside the text."""
    answer = {"role": "assistant", "content": "red", "refusal": refusal, "annotations": [], "boxes": [{"x_min": 0.1}]}
    dumped = ChatCompletionMessage.model_validate(answer).model_dump(exclude_unset=exclude_unset)
    chat = parse(orjson.dumps({"model": "demo", "messages": [dumped]}))
    assert chat.data["messages"][0]["content"] == "red"
