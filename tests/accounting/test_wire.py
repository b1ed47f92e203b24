from typing import get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import wire
from accounting.command import AddKey, AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Snapshot, Total

AMOUNTS = st.integers(-(2**63), 2**63 - 1)
BY_TYPE: dict[object, st.SearchStrategy] = {
    int: AMOUNTS,
    str: st.text(),
    Outcome: st.sampled_from(Outcome),
    int | None: st.none() | AMOUNTS,
    str | None: st.none() | st.text(),
    tuple[int, ...]: st.lists(AMOUNTS).map(tuple),
    tuple[str, ...]: st.lists(st.text()).map(tuple),
}


def values(kind: type) -> st.SearchStrategy:
    """Any value of a dataclass, by the types of its fields."""
    return st.builds(kind, **{name: BY_TYPE[hint] for name, hint in get_type_hints(kind).items()})


BY_TYPE |= {kind: values(kind) for kind in (Attempt, KeyRecord, Price, Total)}
BY_TYPE[tuple[Total, ...]] = st.lists(values(Total), max_size=3).map(tuple)


def read(line: bytes) -> dict:
    """What is at the other end of the connection, if it is one line."""
    assert line.index(b"\n") == len(line) - 1
    return orjson.loads(line)


@given(st.one_of([values(kind) for kind in (Hold, Post, Void, Grant, AddKey, AddPrice)]))
def test_a_command_arrives_as_it_was_sent(command: Command):
    """Every command is one line, and the same value after it."""
    message = read(wire.encode_command(7, command))
    assert message["id"] == 7
    assert wire.decode_command(message["do"], message["with"]) == command


@pytest.mark.parametrize("result", list(Result))
def test_a_result_arrives_by_name(result: Result):
    """The answer to a command is its result."""
    assert Result(read(wire.encode_answer(7, result))["answer"]) is result


@given(st.lists(values(KeyRecord), max_size=3))
def test_keys_arrive_as_they_were_sent(records: list[KeyRecord]):
    """The answer to "keys" is every record."""
    assert wire.decode_keys(read(wire.encode_answer(7, records))["answer"]) == records


@given(values(Snapshot))
def test_a_snapshot_arrives_as_it_was_sent(snapshot: Snapshot):
    """The answer to "snapshot" is the totals."""
    assert wire.decode_snapshot(read(wire.encode_answer(7, snapshot))["answer"]) == snapshot


def test_the_other_lines():
    """A token opens a connection, a question asks about something, and a failure gives its reason."""
    assert read(wire.encode_hello("secret")) == {"token": "secret"}
    assert read(wire.encode_question(7, "keys")) == {"id": 7, "ask": "keys"}
    assert read(wire.encode_failure(7, "disk full")) == {"id": 7, "failure": "disk full"}


@pytest.mark.parametrize(
    ("name", "fields"), [("Steal", {}), ("Grant", {"ref": "free"}), ("Grant", {"ref": "", "to": ""})]
)
def test_what_is_no_command_is_refused(name: str, fields: dict):
    """An unknown name, a missing field and an unknown field are errors, never a command with gaps."""
    with pytest.raises((KeyError, TypeError)):
        wire.decode_command(name, fields)
