"""A batch's file, checked before anything runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.batches import validation
from deployments.batches.validation import FAULTS_MAX, Validation, lines_of
from deployments.json_values import JSON_VALUES_MAX
from tests.batches.office import line, served_name

BODY = {"model": "demo", "messages": []}
LINE = {"custom_id": "secret-1", "method": "POST", "url": "/v1/chat/completions", "body": BODY}


def checked(*lines: bytes | None) -> Validation:
    check = Validation(served_name)
    for number, data in enumerate(lines, start=1):
        check.add(number, 0, data)
    check.end()
    return check


def test_a_line_that_is_right_is_planned():
    """By the one name of its model."""
    check = checked(orjson.dumps(LINE))
    assert check.faults == []
    (planned,) = check.lines
    assert (planned.number, planned.size, planned.custom_id) == (1, len(orjson.dumps(LINE)), "secret-1")
    assert planned.model == check.only_model == "demo-qwen2-vl"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"custom_id": None}, "invalid_custom_id", "custom_id"),
        ({"custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({"custom_id": 7}, "invalid_custom_id", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_custom_id", "custom_id"),
        ({"method": "GET"}, "invalid_method", "method"),
        ({"url": "/v1/embeddings"}, "invalid_url", "url"),
        ({"body": None}, "invalid_body", "body"),
        ({"body": [1]}, "invalid_body", "body"),
        ({"body": BODY | {"model": "secret-model"}}, "model_not_found", "body.model"),
        ({"body": BODY | {"model": 7}}, "model_not_found", "body.model"),
        ({"body": BODY | {"stream": True}}, "stream_not_supported", "body.stream"),
        ({"secret": 1}, "unknown_field", None),
    ],
)
def test_what_is_wrong_with_a_line_is_named(fields: dict[str, Any], code: str, param: str | None):
    """By its number and field, and without a word of what it says."""
    (fault,) = checked(line(), orjson.dumps(LINE | fields)).faults
    assert (fault.code, fault.line, fault.param) == (code, 2, param)
    assert "secret" not in fault.message


def test_a_mark_before_the_first_line_is_no_part_of_it():
    """Editors on Windows put it there; the line is asked for without it."""
    (planned,) = checked(b"\xef\xbb\xbf" + orjson.dumps(LINE)).lines
    assert (planned.start, planned.size) == (3, len(orjson.dumps(LINE)))


def test_a_line_of_more_values_than_a_request_may_have_is_not_read():
    """Two bytes of it would become a hundred."""
    (fault,) = checked(b'{"body": [' + b"[]," * JSON_VALUES_MAX + b"[]]}").faults
    assert fault.code == "too_many_values"


async def test_others_have_their_turn_while_lines_are_looked_for():
    """Also in a file of newlines alone."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def newlines() -> AsyncIterator[bytes]:
        yield b"\n" * 100_000

    running = asyncio.create_task(others())
    assert [line async for line in lines_of(newlines())] == []
    running.cancel()
    assert turns > 10


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b'{"a": "\xff"}', b'{"a":' * 300 + b"1" + b"}" * 300])
def test_a_line_is_a_json_object(data: bytes):
    """In UTF-8, and not nested deeper than can be passed on."""
    (fault,) = checked(data).faults
    assert (fault.code, fault.line) == ("invalid_json_line", 1)


def test_custom_ids_are_each_lines_own():
    """The second of two is named."""
    (fault,) = checked(line("a"), line("b"), line("a")).faults
    assert (fault.code, fault.line) == ("duplicate_custom_id", 3)


def test_a_line_too_long_to_read_is_named():
    """It was never in memory."""
    (fault,) = checked(None).faults
    assert fault.code == "line_too_large"


def test_a_file_has_lines():
    """One at least."""
    (fault,) = checked().faults
    assert (fault.code, fault.line) == ("empty_file", None)


def test_a_file_has_not_too_many_lines(monkeypatch: pytest.MonkeyPatch):
    """One too many ends the reading."""
    monkeypatch.setattr(validation, "LINES_MAX", 2)
    check = checked(line("a"), line("b"), line("c"))
    assert check.full
    assert [fault.code for fault in check.faults] == ["too_many_lines"]


def test_faults_are_told_up_to_a_number():
    """A file of another kind has one in each line."""
    check = Validation(served_name)
    for number in range(1, FAULTS_MAX + 1):
        assert not check.full
        check.add(number, 0, b"{")
    assert check.full


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@given(
    st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"."))), st.integers(1, 50), st.integers(1, 15)
)
async def test_lines_are_found_wherever_a_file_is_cut(lines: list[bytes], size: int, bytes_max: int):
    """Each with its number and place; blank ones are passed over, one that is too long is not kept."""
    data = b"\n".join(lines)
    found = [one async for one in lines_of(in_pieces(data, size), bytes_max)]
    wanted = [(number, text) for number, text in enumerate(lines, start=1) if text.strip() or len(text) > bytes_max]
    assert [number for number, _, _ in found] == [number for number, _ in wanted]
    for (_, start, told), (_, text) in zip(found, wanted, strict=True):
        assert data[start : start + len(text)] == text
        assert told == (None if len(text) > bytes_max else text)
