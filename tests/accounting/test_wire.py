from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import questions, wire
from accounting.budget import Period
from accounting.command import Command, Outcome, Reply, Result
from accounting.limits import RateLimits
from accounting.questions import Listing, Question
from accounting.usage import Width
from tests.accounting.examples import HOLD, POST

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
    RateLimits: st.builds(
        RateLimits, requests_per_minute=LIMIT, images_per_minute=LIMIT, tokens_per_minute=LIMIT, concurrency=LIMIT
    ),
}

PLACES = st.lists(PLAIN[int] | PLAIN[str], max_size=4).map(tuple)


def values(kind: Any) -> st.SearchStrategy:
    """Any value of a type that travels: of a dataclass, by the types of its fields."""
    if kind in PLAIN:
        return PLAIN[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})
    if get_origin(kind) in (UnionType, Union):
        return st.one_of(*map(values, get_args(kind)))
    if get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis:
        return st.tuples(*map(values, get_args(kind)))
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
    line = wire.encode_command(7, command)
    assert line.index(b"\n") == len(line) - 1
    assert wire.heading_of(line) == (7, False)
    assert wire.decode(line) == command


@given(values(Reply))
def test_a_reply_arrives_as_it_was_sent(reply: Reply):
    """The result by name, and all that comes with it."""
    assert wire.decode_reply(read(wire.encode_answer(7, reply))["answer"]) == reply


@pytest.mark.parametrize("kind", questions.QUESTIONS)
@given(data=st.data())
def test_a_question_and_its_answer_arrive_as_they_were_sent(kind: type[Question[Any]], data: st.DataObject):
    """Every question is one line, and what the store says is what the asker reads."""
    question = data.draw(values(kind))
    line = wire.encode_question(7, question)
    assert wire.heading_of(line) == (7, True)
    assert wire.decode(line) == question
    answer = data.draw(values(questions.answer_of(kind)))
    assert wire.decode_answer(question, read(wire.encode_answer(7, answer))) == answer


@pytest.mark.parametrize("kind", questions.LISTINGS)
@given(data=st.data())
def test_a_listing_and_its_pages_arrive_as_they_were_sent(kind: type[Listing[Any]], data: st.DataObject):
    """With the place that a page begins behind, and whether others may follow."""
    page = wire.Page(data.draw(values(kind)), data.draw(PLACES), data.draw(st.integers(1, wire.PAGE_ROWS_MAX)))
    line = wire.encode_question(7, page)
    assert wire.heading_of(line) == (7, True)
    assert wire.decode(line) == page
    rows, more = data.draw(values(questions.answer_of(kind))), data.draw(st.booleans())
    assert wire.decode_page(page.listing, read(wire.encode_page(7, rows, more=more))) == (rows, more)


def test_the_other_lines():
    """A token opens a connection, and a failure gives its reason."""
    assert read(wire.encode_hello("secret")) == {"token": "secret"}
    assert read(wire.encode_failure(7, "disk full")) == {"id": 7, "failure": "disk full"}
    assert read(wire.encode_page(7, [1], more=True)) == {"id": 7, "answer": [1], "more": True}


def test_what_cannot_be_read_has_a_final_answer():
    """Sent again, it would stand in the way of everything behind it."""
    assert wire.decode_reply(read(wire.encode_refusal(7, is_question=False))["answer"]) == Reply(Result.INVALID)
    assert read(wire.encode_refusal(7, is_question=True))["failure"]


@pytest.mark.parametrize(
    "head", [b"", b"GET / HTTP/1.1", b'{"token":"a"}', b'{"id":-1,"do":', b'{"id":1}', b'{"do":"Post"']
)
def test_a_line_of_somebody_else_has_no_number(head: bytes):
    """So it is not answered."""
    assert wire.heading_of(head) is None


def test_an_answer_has_its_number_at_its_beginning():
    """So a line that is too long to be read is the end of something all the same."""
    assert wire.number_of(wire.encode_answer(7, "x" * 100)[:20]) == 7
    assert wire.number_of(b"nothing of ours") is None


@pytest.mark.parametrize(
    "command",
    [
        replace(POST, response="x" * wire.COMMAND_BYTES_MAX),
        replace(HOLD, user_id="\ud800"),
        replace(HOLD, tokens_max=2**64),
    ],
    ids=["too long", "half a character", "no number of 64 bits"],
)
def test_what_no_line_can_say_is_not_sent(command: Command):
    """It is refused where it is made."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.encode_command(7, command)


def test_an_answer_that_is_too_long_is_a_failure():
    """Rather than a line that ends the asker's connection."""
    assert "failure" in read(wire.encode_answer(7, "x" * wire.ANSWER_BYTES_MAX))


def test_what_was_kept_can_be_replayed():
    """The longest answer that a charge can carry fits into a reply."""
    longest = replace(POST, response='"' * ((wire.COMMAND_BYTES_MAX - 1_000) // 2))
    wire.encode_command(7, longest)
    replayed = Reply(Result.REPLAYED, request_id=POST.request_id, response=longest.response)
    assert wire.decode_reply(read(wire.encode_answer(7, replayed))["answer"]) == replayed


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
        (["Grant"], GIFT),
    ],
)
def test_what_is_no_command_is_refused(name: object, fields: object):
    """An unknown name, a missing, wrong or unknown field are errors, never a command with gaps."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode(orjson.dumps({"id": 7, "do": name, "with": fields}))


PERIOD = {"from_ms": 0, "to_ms": 1}


@pytest.mark.parametrize(
    ("about", "fields"),
    [
        ("close", {"with": {}}),
        ("snapshot", {"with": []}),
        ("FleetTotals", {"with": {"of_a_newer_gateway": 1}}),
        ("OneRequest", {"with": {}}),
        ("Budgets", {"with": {}}),
        ("Budgets", {"with": {}, "after": [], "rows": 0}),
        ("Budgets", {"with": {}, "after": [], "rows": wire.PAGE_ROWS_MAX + 1}),
        ("Budgets", {"with": {}, "after": {}, "rows": 1}),
        ("Samples", {"with": PERIOD | {"to_ms": "late"}, "after": [], "rows": 1}),
        (["Samples"], {"with": PERIOD, "after": [], "rows": 1}),
    ],
)
def test_what_is_no_question_is_refused(about: object, fields: dict[str, Any]):
    """Only what is listed can be asked, with the fields that it has, and a page at a time. So is one of another version."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode(orjson.dumps({"id": 7, "ask": about} | fields))


@pytest.mark.parametrize(
    "line", [b"", b"[]", b'{"id":7,"do":"Grant"}', b'{"id":7,"ask":"FleetTotals","wi', b'{"id":7}']
)
def test_half_a_line_is_none(line: bytes):
    """Whatever is missing."""
    with pytest.raises(wire.NotOfThisLedger):
        wire.decode(line)


def test_what_is_no_answer_is_refused():
    """A writer of another version is found out, and none of its words are repeated in a log."""
    with pytest.raises(wire.NotOfThisLedger) as refused:
        wire.decode_reply({"result": "SECRET"})
    assert "SECRET" not in str(refused.value)
    for message in ({"answer": {"result": "invalid"}}, {"id": 7}):
        with pytest.raises(wire.NotOfThisLedger):
            wire.decode_page(questions.KeyChanges(), message)
