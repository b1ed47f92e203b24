"""What a request asks for, within bounds. Pure, so it is tested outside the engines' environments."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.openai_chat.asked import Asked, read
from engines.openai_chat.refusal import refusal

VOCABULARY = 1000
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 16}


def asked(**fields: Any) -> Asked:
    return read(json.dumps(HELLO | fields).encode(), Asked, VOCABULARY)


def refused(body: bytes) -> tuple[str, str | None]:
    with pytest.raises(ValueError) as error:
        read(body, Asked, VOCABULARY)
    return refusal(error.value)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("temperature", [-1e-300, 2.1, 1e308]),
        ("top_p", [0, -1, 1.1]),
        ("top_k", [-2, VOCABULARY + 1, 2**31, 2**63, 10**30]),
        ("min_p", [-0.1, 1.1]),
        ("repetition_penalty", [0, 5e-324, 0.009, 101, 1e308, -1]),
        ("seed", [2**63, -(2**63) - 1, 10**30, 0.5]),
        ("stop", ["", [""], ["a"] * 129, "a" * 16_385]),
        ("stop_token_ids", [[-1], [VOCABULARY], [2**31], [2**63], [1] * 257]),
        ("max_tokens", [0, -1, 2**31, 10**30, 1.5]),
        ("min_tokens", [-1, 17, 2**63]),
        ("response_format", ["json", [], {"type": "json_schema", "json_schema": {"schema": {"$ref": "#"}}}]),
        ("messages", [[], "hello", [1]]),
        ("stream", ["perhaps", 7]),
    ],
)
def test_what_no_engine_can_compute_with_is_refused_by_name(field: str, values: list[Any]):
    """One field at fault, one name; the value is not repeated."""
    for value in values:
        words, param = refused(json.dumps(HELLO | {field: value}).encode())
        assert param == field, (value, words)
        assert words.startswith(field)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"3", b"null", b"\xff", b'{"a": NaN}', b'{"model": "\\ud83d"}', b"[" * 100_000, b'{"seed": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes):
    """NaN, half a surrogate pair and nesting without end are no JSON either."""
    assert refused(body) == ("The body is no JSON object.", None)


@pytest.mark.parametrize("field", ["temperature", "top_p", "min_p", "repetition_penalty"])
def test_a_number_beyond_all_numbers_is_refused(field: str):
    """JSON has no infinity, but 1e999 is read as one."""
    body = json.dumps(HELLO | {field: 7}).replace(f'"{field}": 7', f'"{field}": 1e999')
    assert refused(body.encode())[1] == field


@pytest.mark.parametrize(("said", "meant"), [(1e-320, 0), (9e-6, 0), (0, 0), (1e-5, 1e-5), (0.7, 0.7)])
def test_a_temperature_near_zero_is_zero(said: float, meant: float):
    """As in vLLM: what it would divide by it is not a number any more."""
    assert asked(temperature=said).temperature == meant


def test_a_share_near_zero_is_the_likeliest_token_alone():
    assert asked(top_p=5e-324).top_p == 1e-5


def test_the_last_values_inside_the_bounds_are_taken():
    """They are where the documentation says."""
    one = asked(
        top_k=VOCABULARY, stop_token_ids=[0, VOCABULARY - 1], seed=-(2**63), min_tokens=16, repetition_penalty=100
    )
    assert (one.top_k, one.stop_token_ids, one.seed) == (VOCABULARY, [0, VOCABULARY - 1], -(2**63))


def test_an_answer_cannot_go_on_behind_the_end_of_its_json():
    """Its grammar would allow the end alone, and `min_tokens` all but the end."""
    fields = {"min_tokens": 4, "response_format": {"type": "json_object"}}
    assert refused(json.dumps(HELLO | fields).encode())[1] == "min_tokens"
    assert asked(min_tokens=4, response_format={"type": "text"}).min_tokens == 4


def test_null_is_silence():
    assert asked(temperature=None, top_k=None, seed=None, response_format=None) == asked()


numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([5e-324, 1e-38, 2**31, 2**63, -(2**63), 10**400]))
values = st.one_of(st.none(), st.booleans(), st.text(), numbers, st.lists(numbers), st.dictionaries(st.text(), numbers))
NUMBERS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop_token_ids", "min_tokens")


@given(fields=st.dictionaries(st.sampled_from([*Asked.model_fields]), values))
def test_whatever_is_said_is_within_bounds_or_refused(fields: dict[str, Any]):
    """By a ValueError, which is a 400; and what is taken is something that the engines can compute with."""
    try:
        one = asked(**fields)
    except ValueError:
        return
    assert one.temperature == 0 or 1e-5 <= one.temperature <= 2
    assert 1e-5 <= one.top_p <= 1
    assert -1 <= one.top_k <= VOCABULARY
    assert 0.01 <= one.repetition_penalty <= 100
    assert all(0 <= token < VOCABULARY for token in one.stop_token_ids)
    assert one.min_tokens <= one.max_tokens < 2**31
    assert one.seed is None or -(2**63) <= one.seed < 2**63
