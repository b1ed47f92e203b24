"""Commands, questions and answers as lines of JSON, between the gateways and the ledger's writer."""

from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from accounting.budget import BudgetState
from accounting.command import Command, Reply
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Balance, Entry, Fault, Snapshot
from accounting.usage import Bucket, UsageQuery

LINE_BYTES_MAX = 64 * 2**20

COMMANDS: dict[str, TypeAdapter[Command]] = {kind.__name__: TypeAdapter(kind) for kind in Command.__args__}
REPLY = TypeAdapter(Reply)

# The questions of `Store`: the types of their arguments, and of their answer.
QUESTIONS: dict[str, tuple[TypeAdapter[Any], TypeAdapter[Any]]] = {
    "keys": (TypeAdapter(tuple[()]), TypeAdapter(list[KeyRecord])),
    "prices": (TypeAdapter(tuple[()]), TypeAdapter(list[Price])),
    "budgets": (TypeAdapter(tuple[()]), TypeAdapter(list[BudgetState])),
    "balances": (TypeAdapter(tuple[()]), TypeAdapter(list[Balance])),
    "snapshot": (TypeAdapter(tuple[()]), TypeAdapter(Snapshot)),
    "generation": (TypeAdapter(tuple[str]), TypeAdapter(dict[str, Any] | None)),
    "usage": (TypeAdapter(tuple[UsageQuery]), TypeAdapter(list[Bucket])),
    "entries": (TypeAdapter(tuple[int, int]), TypeAdapter(list[Entry])),
    "records": (TypeAdapter(tuple[str, int, int]), TypeAdapter(list[dict[str, Any]])),
    "verify": (TypeAdapter(tuple[()]), TypeAdapter(list[Fault])),
}


class NotOfThisLedger(ValueError):
    """A line that is no command, question or answer of ours."""


def encode_hello(token: str) -> bytes:
    """The first line of a connection."""
    return _line({"token": token})


def encode_command(number: int, command: Command) -> bytes:
    return _line({"id": number, "do": type(command).__name__, "with": command})


def decode_command(name: str, fields: object) -> Command:
    """The inverse of `encode_command`. Raises `NotOfThisLedger`."""
    try:
        # Whatever a newer gateway says more must not be left out in silence.
        return COMMANDS[name].validate_python(fields, extra="forbid")
    except (KeyError, ValidationError) as error:
        raise NotOfThisLedger(name) from error


def encode_question(number: int, about: str, *arguments: object) -> bytes:
    """`about`: a name of `QUESTIONS`."""
    return _line({"id": number, "ask": about, "with": arguments})


def decode_arguments(about: str, arguments: object) -> tuple[Any, ...]:
    """What the question is about. Raises `NotOfThisLedger`."""
    try:
        decoded: tuple[Any, ...] = QUESTIONS[about][0].validate_python(arguments, extra="forbid")
    except (KeyError, ValidationError) as error:
        raise NotOfThisLedger(about) from error
    return decoded


def encode_answer(number: int, answer: object) -> bytes:
    return _line({"id": number, "answer": answer})


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
