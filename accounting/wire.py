"""Commands, questions and answers as lines of JSON, between the gateways and the ledger's writer. Every line has a bound."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from accounting import questions
from accounting.command import Command, Reply, Result
from accounting.questions import Listing, Question
from accounting.store import Place

A = TypeVar("A")
R = TypeVar("R")

# A command: the longest carries an answer that is kept for an idempotency key.
COMMAND_BYTES_MAX = 32 * 2**20
# An answer: the longest repeats such a one. Both ends of a connection hold at most one line that is not whole yet.
ANSWER_BYTES_MAX = 40 * 2**20
# A page is read in one go, so it is as long as an event loop may be busy with it, a few hundredths of a second.
PAGE_ROWS_MAX = 500
PAGE_BYTES_MAX = 2**20

COMMANDS: dict[str, TypeAdapter[Command]] = {kind.__name__: TypeAdapter(kind) for kind in Command.__args__}
REPLY = TypeAdapter(Reply)

QUESTIONS: dict[str, TypeAdapter[Question[Any]]] = {kind.__name__: TypeAdapter(kind) for kind in questions.QUESTIONS}
LISTINGS: dict[str, TypeAdapter[Listing[Any]]] = {kind.__name__: TypeAdapter(kind) for kind in questions.LISTINGS}
ANSWERS: dict[type[Question[Any] | Listing[Any]], TypeAdapter[Any]] = {
    **{kind: TypeAdapter(questions.answer_of(kind)) for kind in questions.QUESTIONS},
    **{kind: TypeAdapter(questions.answer_of(kind)) for kind in questions.LISTINGS},
}
PLACE: TypeAdapter[Place] = TypeAdapter(Place)
ROWS: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)])

# How lines begin.
ASKED = re.compile(rb'{"id":(\d{1,19}),"(do|ask)":')
ANSWERED = re.compile(rb'{"id":(\d{1,19}),"')


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a long answer, asked for: of the rows of `listing` that are behind a place, so many at most."""

    listing: Listing[Any]
    after: Place
    rows_max: int


class NotOfThisLedger(ValueError):
    """A line that is no command, question or answer of ours."""


def encode_hello(token: str) -> bytes:
    """The first line of a connection."""
    return _line({"token": token})


def encode_command(number: int, command: Command) -> bytes:
    """Raises `NotOfThisLedger` for what cannot be sent: it is too long, or has a text or number that JSON cannot have."""
    try:
        line = _line({"id": number, "do": type(command).__name__, "with": command})
    except TypeError as error:
        raise NotOfThisLedger(type(command).__name__) from error
    if len(line) > COMMAND_BYTES_MAX:
        raise NotOfThisLedger(type(command).__name__)
    return line


def encode_question(number: int, asked: Question[Any] | Page) -> bytes:
    """A question, or a page of a listing."""
    if isinstance(asked, Page):
        listing = {"id": number, "ask": type(asked.listing).__name__, "with": asked.listing}
        return _line(listing | {"after": asked.after, "rows": asked.rows_max})
    return _line({"id": number, "ask": type(asked).__name__, "with": asked})


def decode(line: bytes) -> Command | Question[Any] | Page:
    """The inverse of `encode_command` and `encode_question`. Raises `NotOfThisLedger`."""
    try:
        message = orjson.loads(line)
        # Whatever a newer gateway says more must not be left out in silence.
        if "do" in message:
            return COMMANDS[message["do"]].validate_python(message["with"], extra="forbid")
        if message["ask"] in QUESTIONS:
            return QUESTIONS[message["ask"]].validate_python(message["with"], extra="forbid")
        listing = LISTINGS[message["ask"]].validate_python(message["with"], extra="forbid")
        return Page(listing, PLACE.validate_python(message["after"]), ROWS.validate_python(message["rows"]))
    except (ValueError, LookupError, TypeError) as error:
        raise NotOfThisLedger("a line") from error


def encode_answer(number: int, answer: object) -> bytes:
    """A failure, if the answer is too long."""
    line = _line({"id": number, "answer": answer})
    return line if len(line) <= ANSWER_BYTES_MAX else encode_failure(number, "the answer is too long")


def encode_page(number: int, rows: list[Any], *, more: bool) -> bytes:
    """Some rows of an answer. `more`: others may follow."""
    return _line({"id": number, "answer": rows, "more": more})


def encode_refusal(number: int, *, is_question: bool) -> bytes:
    """A final answer to what cannot be read: sent again, it would stand in the way of everything behind it."""
    if is_question:
        return encode_failure(number, "no question that this ledger's writer knows: it is of another version")
    return encode_answer(number, Reply(Result.INVALID))


def heading_of(head: bytes) -> tuple[int, bool] | None:
    """The number of a line that a client has sent, by its first bytes, and whether it is a question; None: it is no such line."""
    found = ASKED.match(head)
    return (int(found[1]), found[2] == b"ask") if found else None


def number_of(head: bytes) -> int | None:
    """The number of a line that a writer has sent, by its first bytes; None: it is no such line."""
    found = ANSWERED.match(head)
    return int(found[1]) if found else None


def decode_reply(answer: object) -> Reply:
    """The reply to a command. Raises `NotOfThisLedger`."""
    try:
        return REPLY.validate_python(answer)
    except ValidationError as error:
        raise NotOfThisLedger("reply") from error


def decode_answer(question: Question[A], message: dict[str, Any]) -> A:
    """What a question was answered with. Raises `NotOfThisLedger`."""
    answer: A = _read(type(question), message)
    return answer


def decode_page(listing: Listing[R], message: dict[str, Any]) -> tuple[list[R], bool]:
    """Some rows of a listing, and whether others may follow. Raises `NotOfThisLedger`."""
    return _read(type(listing), message), bool(message.get("more"))


def _read(kind: type[Question[Any] | Listing[Any]], message: dict[str, Any]) -> Any:
    try:
        return ANSWERS[kind].validate_python(message["answer"])
    except (ValidationError, LookupError) as error:
        raise NotOfThisLedger(kind.__name__) from error


def encode_failure(number: int, reason: str) -> bytes:
    """The store could not do it now."""
    return _line({"id": number, "failure": reason})


def _line(message: dict[str, object]) -> bytes:
    return orjson.dumps(message) + b"\n"
