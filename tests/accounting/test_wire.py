from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import wire
from accounting.budget import BudgetState, Period
from accounting.command import Command, Outcome, Reply, Result
from accounting.key import KeyRecord
from accounting.limits import RateLimits
from accounting.store import Balance, Entry, Fault, Snapshot
from accounting.usage import Bucket, UsageQuery, Width

LIMIT = st.none() | st.integers(1, 2**63 - 1)
PLAIN: dict[object, st.SearchStrategy] = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(max_size=20),
    bool: st.booleans(),
    NoneType: st.none(),
    Outcome: st.sampled_from(Outcome),
    Period: st.sampled_from(Period),
    Result: st.sampled_from(Result),
    Width: st.sampled_from(Width),
    RateLimits: st.builds(RateLimits, LIMIT, LIMIT, LIMIT, LIMIT),
}


def values(kind: Any) -> st.SearchStrategy:
    """Any value of a type that travels: of a dataclass, by the types of its fields."""
    if kind in PLAIN:
        return PLAIN[kind]
    if is_dataclass(kind):
        return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})
    if get_origin(kind) is UnionType:
        return st.one_of(*map(values, get_args(kind)))
    return st.lists(values(get_args(kind)[0]), max_size=3).map(get_origin(kind))


def read(line: bytes) -> dict[str, Any]:
    """What is at the other end of the connection, if it is one line."""
    assert line.index(b"\n") == len(line) - 1
    return orjson.loads(line)


@pytest.mark.parametrize("kind", Command.__args__)
@given(data=st.data())
def test_a_command_arrives_as_it_was_sent(kind: type[Command], data: st.DataObject):
    """Every command is one line, and the same value after it."""
    command = data.draw(values(kind))
    message = read(wire.encode_command(7, command))
    assert message["id"] == 7
    assert wire.decode_command(message["do"], message["with"]) == command


@given(values(Reply))
def test_a_reply_arrives_as_it_was_sent(reply: Reply):
    """The result by name, and all that comes with it."""
    assert wire.decode_reply(read(wire.encode_answer(7, reply))["answer"]) == reply


@pytest.mark.parametrize(
    ("about", "kind"),
    [
        ("keys", list[KeyRecord]),
        ("budgets", list[BudgetState]),
        ("balances", list[Balance]),
        ("snapshot", Snapshot),
        ("usage", list[Bucket]),
        ("entries", list[Entry]),
        ("verify", list[Fault]),
    ],
)
@given(data=st.data())
def test_an_answer_arrives_as_it_was_given(about: str, kind: Any, data: st.DataObject):
    """What the store says is what the asker reads."""
    answer = data.draw(values(kind))
    assert wire.decode_answer(about, read(wire.encode_answer(7, answer))["answer"]) == answer


@pytest.mark.parametrize("answer", [None, {"request_id": "r", "attempts": [{"ttft_ms": None}], "charged_nano": 2**62}])
def test_rows_arrive_as_they_are(answer: dict[str, Any] | None):
    """Their columns are the schema's business."""
    assert wire.decode_answer("generation", read(wire.encode_answer(7, answer))["answer"]) == answer
    assert wire.decode_answer("records", read(wire.encode_answer(7, [answer or {}]))["answer"]) == [answer or {}]


@pytest.mark.parametrize(
    ("about", "arguments"),
    [
        ("keys", ()),
        ("generation", ("r",)),
        ("usage", (UsageQuery(Width.DAY, 0, 86_400_000, ("model",), models=("m",)),)),
        ("entries", (7, 100)),
        ("records", ("samples", 0, 1_000)),
    ],
)
def test_a_question_arrives_with_its_arguments(about: str, arguments: tuple[Any, ...]):
    """In the types that the store's method takes."""
    message = read(wire.encode_question(7, about, *arguments))
    assert (message["id"], message["ask"]) == (7, about)
    assert wire.decode_arguments(message["ask"], message["with"]) == arguments


def test_the_other_lines():
    """A token opens a connection, and a failure gives its reason."""
    assert read(wire.encode_hello("secret")) == {"token": "secret"}
    assert read(wire.encode_failure(7, "disk full")) == {"id": 7, "failure": "disk full"}


GIFT = {"ref": "free", "account": "credit:org", "amount_nano": 1}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Steal", {}),
        ("Grant", {"ref": "free"}),
        ("Grant", GIFT | {"amount_nano": "much"}),
        ("Grant", GIFT | {"of_a_newer_gateway": 1}),
        ("Void", {"request_id": "r", "attempt": 1, "outcome": "of a newer gateway", "record": {}}),
        ("Grant", None),
    ],
)
def test_what_is_no_command_is_refused(name: str, fields: object):
    """An unknown name, a missing, wrong or unknown field are errors, never a command with gaps."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode_command(name, fields)


@pytest.mark.parametrize(("about", "arguments"), [("apply", []), ("close", []), ("keys", [1]), ("entries", ["all", 1])])
def test_what_is_no_question_is_refused(about: str, arguments: list[Any]):
    """Only what is listed can be asked, with the arguments that it has."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode_arguments(about, arguments)


def test_what_is_no_answer_is_refused():
    """A writer of another version is found out, and none of its words are repeated in a log."""
    with pytest.raises(wire.NotOfThisLedger) as refused:
        wire.decode_reply({"result": "SECRET"})
    assert "SECRET" not in str(refused.value)
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode_answer("keys", {"result": "invalid"})
