from typing import Any

import orjson
import pytest

from catalog import ModelCard, load_catalog
from deployments.gateway.errors import BadRequest
from deployments.gateway.parameters import NEUTRAL, check_against_card, without_neutral
from deployments.gateway.request import Chat, parse

CATALOG = load_catalog()
QWEN, INTERNVL, MOONDREAM = (CATALOG.find(name) for name in ("demo-qwen2-vl", "demo-internvl2", "moondream2"))
TOOL = {"type": "function", "function": {"name": "look"}}
CALLS_TOOLS = QWEN.model_copy(
    update={"supported_parameters": (*QWEN.supported_parameters, "tools", "tool_choice", "parallel_tool_calls")}
)
each_card = pytest.mark.parametrize("card", CATALOG.cards, ids=lambda card: card.served_name)


def asked(card: ModelCard, **fields: Any) -> Chat:
    """A request that was held against its model's card."""
    body = {"model": card.served_name, "messages": [{"role": "user", "content": "hi"}]} | fields
    chat = without_neutral(parse(orjson.dumps(body)), card)
    check_against_card(chat, card)
    return chat


@each_card
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name, values in NEUTRAL.items() for value in values),
        ("tools", []),
        ("tool_choice", "none"),
        ("tool_choice", "auto"),
        ("parallel_tool_calls", True),
        ("parallel_tool_calls", False),
    ],
)
def test_a_value_that_asks_for_nothing_is_taken_by_every_model(card: ModelCard, name: str, value: Any):
    """And reaches its engine only if that knows the field."""
    sent = asked(card, **{name: value}).data
    assert (name in sent) == (name in card.supported_parameters)


def test_tools_that_may_not_be_called_are_as_good_as_none():
    """For a model that can call them they are part of its prompt all the same."""
    fields = {"tools": [TOOL], "tool_choice": "none"}
    assert not asked(QWEN, **fields).data.keys() & fields.keys()
    assert asked(CALLS_TOOLS, **fields).data.keys() > fields.keys()


@pytest.mark.parametrize(
    ("card", "fields", "param"),
    [
        (INTERNVL, {"presence_penalty": 0.1}, "presence_penalty"),
        (INTERNVL, {"logprobs": True}, "logprobs"),
        (QWEN, {"tools": [TOOL]}, "tools"),
        (QWEN, {"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        (MOONDREAM, {"response_format": {"type": "json_object"}}, "response_format"),
        (QWEN, {"max_tokens": 513}, "max_tokens"),
        (QWEN, {"max_completion_tokens": 513, "max_tokens": 1}, "max_completion_tokens"),
        (QWEN, {"min_tokens": 6, "max_tokens": 5}, "min_tokens"),
        (QWEN, {"min_tokens": 65}, "min_tokens"),
        (QWEN, {"top_k": 513}, "top_k"),
        (QWEN, {"top_k": 2**62}, "top_k"),
        (QWEN, {"stop_token_ids": [0, 511, 512]}, "stop_token_ids[2]"),
        (QWEN, {"logit_bias": {"511": 1, "512": 1}}, "logit_bias.512"),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(card: ModelCard, fields: dict[str, Any], param: str):
    with pytest.raises(BadRequest) as refused:
        asked(card, **fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"min_tokens": 5, "max_tokens": 5},
        {"top_k": 512},
        {"top_k": -1},
        {"stop_token_ids": [0, 511]},
        {"logit_bias": {"0": -100, "511": 100}},
    ],
)
def test_the_bounds_themselves_are_within(fields: dict[str, Any]):
    assert asked(QWEN, **fields).data.items() >= fields.items()
