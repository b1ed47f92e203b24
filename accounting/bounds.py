"""Which texts of a command every store can keep, in each row and index that the command and those after it need. Pure.

An index of PostgreSQL holds 2,704 bytes an entry, and its text no NUL. A hold with more would be taken, and its charge refused
for good when the answer is there: so it is the hold that is refused, before the engine runs.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from accounting.command import Command

# What is part of an index together with others of its kind: four of them and a `user_id` make the longest key, of `rollup`.
NAME_BYTES_MAX = 255
# What is alone in an index, or beside names only. 256 characters, the longest `user` of OpenAI's, are at most so many bytes.
TEXT_BYTES_MAX = 1024
TEXTS = frozenset({"user_id", "idempotency_key", "ref", "account", "scope"})
# In no index. OpenAI's 16 pairs of 64 and 512 characters, as JSON with escapes of up to 12 bytes, are 111 kB; an answer is as
# long as a line of the wire.
FREE_BYTES_MAX = {"metadata": 128 * 1024, "reason": 16 * 1024, "basis": 64 * 1024, "name": 1024, "response": 2**30}


def unstorable(command: Command) -> str | None:
    """The name of the first text that a store could not keep; None: it can keep them all."""
    return next((name for name, text in _texts(command) if not _fits(name, text)), None)


def _texts(part: Any) -> Iterator[tuple[str, str]]:
    """The texts of a command and of the records in it, with their fields' names."""
    for name in _names(type(part)):  # type: ignore[arg-type]  # a class is hashable
        value = getattr(part, name)
        if isinstance(value, str):
            yield name, value
        elif is_dataclass(value):
            yield from _texts(value)


def _fits(name: str, text: str) -> bool:
    if "\0" in text:
        return False
    try:
        size = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return size <= (FREE_BYTES_MAX.get(name) or (TEXT_BYTES_MAX if name in TEXTS else NAME_BYTES_MAX))


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
