"""Commands and answers as lines of JSON, between the gateways and the ledger's writer."""

from typing import Any

import orjson

from accounting.command import AddKey, AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Snapshot, Total

COMMANDS: dict[str, type[Command]] = {
    command.__name__: command for command in (Hold, Post, Void, Grant, AddKey, AddPrice)
}
LINE_BYTES_MAX = 64 * 2**20


def encode_hello(token: str) -> bytes:
    """The first line of a connection."""
    return orjson.dumps({"token": token}) + b"\n"


def encode_command(number: int, command: Command) -> bytes:
    return orjson.dumps({"id": number, "do": type(command).__name__, "with": command}) + b"\n"


def decode_command(name: str, fields: dict[str, Any]) -> Command:
    """The inverse of `encode_command`. Raises LookupError, TypeError or ValueError for what is no command."""
    match name:
        case "Hold":
            return Hold(**_tuples(fields, "image_units", "accounts"))
        case "Post" | "Void":
            ended = {"outcome": Outcome(fields["outcome"]), "record": Attempt(**fields["record"])}
            return COMMANDS[name](**fields | ended)
        case "AddKey":
            return AddKey(_key(fields["record"]))
        case "AddPrice":
            return AddPrice(Price(**fields["price"]))
    return COMMANDS[name](**fields)


def encode_question(number: int, about: str) -> bytes:
    """`about`: "keys" or "snapshot"."""
    return orjson.dumps({"id": number, "ask": about}) + b"\n"


def encode_answer(number: int, answer: object) -> bytes:
    return orjson.dumps({"id": number, "answer": answer}) + b"\n"


def encode_failure(number: int, reason: str) -> bytes:
    return orjson.dumps({"id": number, "failure": reason}) + b"\n"


def decode_keys(answer: list[dict[str, Any]]) -> list[KeyRecord]:
    return [_key(record) for record in answer]


def decode_snapshot(answer: dict[str, Any]) -> Snapshot:
    return Snapshot(**answer | {"totals": tuple(Total(**total) for total in answer["totals"])})


def _key(fields: dict[str, Any]) -> KeyRecord:
    return KeyRecord(**_tuples(fields, "scopes"))


def _tuples(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return fields | {name: tuple(fields[name]) for name in names}
