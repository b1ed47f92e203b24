"""One administrative call: who makes it, and what was sent."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from accounting.key import KeyRecord


@dataclass(frozen=True, slots=True)
class Call:
    """`body` is empty where the method has none."""

    by: KeyRecord
    query: bytes
    body: bytes


# Takes a call, and the names in its path as keywords. Returns what is answered, as JSON.
Answer = Callable[..., Awaitable[dict[str, Any]]]


class Department(Protocol):
    """One part of the administration."""

    def calls(self) -> Iterable[tuple[str, str, Answer]]:
        """Method, path below `/v1/admin`, and who answers."""
