"""Commands, questions and answers as lines of JSON, between the gateways and the ledger's writer. Every line has a bound."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from accounting.budget import BudgetState
from accounting.command import Command, Reply, Result
from accounting.store import Balance, KeyChange, Place, Snapshot
from accounting.usage import Bucket, UsageQuery

# A command: the longest carries an answer that is kept for an idempotency key.
COMMAND_BYTES_MAX = 32 * 2**20
# An answer: the longest repeats such a one. Both ends of a connection hold at most one line that is not whole yet.
ANSWER_BYTES_MAX = 40 * 2**20
# A page is read in one go, so it is as long as an event loop may be busy with it, a few hundredths of a second.
PAGE_ROWS_MAX = 500
PAGE_BYTES_MAX = 2**20

COMMANDS: dict[str, TypeAdapter[Command]] = {kind.__name__: TypeAdapter(kind) for kind in Command.__args__}
REPLY = TypeAdapter(Reply)

RecordKind = Literal["holds", "attempts", "samples", "audit"]
Rows = Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX)]

# The questions of `Store` whose answers are short: the types of their arguments, and of their answer.
SHORT: dict[str, tuple[TypeAdapter[Any], TypeAdapter[Any]]] = {
    "snapshot": (TypeAdapter(tuple[()]), TypeAdapter(Snapshot)),
    "takeovers": (TypeAdapter(tuple[()]), TypeAdapter(list[tuple[str, int]])),
    "generation": (TypeAdapter(tuple[str]), TypeAdapter(dict[str, Any] | None)),
}
# Those that are answered in pages: after their own arguments they have the place of the last row and a number of rows.
PAGED: dict[str, tuple[TypeAdapter[Any], TypeAdapter[Any]]] = {
    "key_changes": (TypeAdapter(tuple[Place, Rows]), TypeAdapter(list[KeyChange])),
    "budgets": (TypeAdapter(tuple[Place, Rows]), TypeAdapter(list[BudgetState])),
    "balances": (TypeAdapter(tuple[Place, Rows]), TypeAdapter(list[Balance])),
    "usage": (TypeAdapter(tuple[UsageQuery, Place, Rows]), TypeAdapter(list[Bucket])),
    "records": (TypeAdapter(tuple[RecordKind, int, int, Place, Rows]), TypeAdapter(list[dict[str, Any]])),
}
QUESTIONS = SHORT | PAGED

# How lines begin.
ASKED = re.compile(rb'{"id":(\d{1,19}),"(do|ask)":')
ANSWERED = re.compile(rb'{"id":(\d{1,19}),"')


@dataclass(frozen=True, slots=True)
class Question:
    """What the method `about` of `Store` is asked. `arguments` of one in `PAGED` end with a place and a number of rows."""

    about: str
    arguments: tuple[Any, ...]


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


def encode_question(number: int, about: str, *arguments: object) -> bytes:
    """`about`: a name of `QUESTIONS`."""
    return _line({"id": number, "ask": about, "with": arguments})


def decode(line: bytes) -> Command | Question:
    """The inverse of `encode_command` and `encode_question`. Raises `NotOfThisLedger`."""
    try:
        message = orjson.loads(line)
        # Whatever a newer gateway says more must not be left out in silence.
        if "do" in message:
            return COMMANDS[message["do"]].validate_python(message["with"], extra="forbid")
        arguments = QUESTIONS[message["ask"]][0].validate_python(message["with"], extra="forbid")
        return Question(message["ask"], arguments)
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
        return encode_failure(number, "no question that this ledger's writer knows; upgrade it")
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


def decode_answer(about: str, answer: object) -> Any:
    """What a question was answered with. Raises `NotOfThisLedger`."""
    try:
        return QUESTIONS[about][1].validate_python(answer)
    except ValidationError as error:
        raise NotOfThisLedger(about) from error


def encode_failure(number: int, reason: str) -> bytes:
    """The store could not do it now."""
    return _line({"id": number, "failure": reason})


def _line(message: dict[str, object]) -> bytes:
    return orjson.dumps(message) + b"\n"
