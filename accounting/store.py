"""The port to a durable ledger. Implementations: `accounting/sqlite.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from accounting.command import Command, Result
from accounting.key import KeyRecord


class StoreError(Exception):
    """The store cannot do its work: nothing of what was asked has taken effect. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Total:
    """Everything that ended with one outcome on one model."""

    model: str
    outcome: str
    requests: int
    images: int
    vision_tokens: int
    text_tokens: int
    output_tokens: int
    charged_nano: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Fleet totals, and what is reserved at this moment."""

    totals: tuple[Total, ...]
    holds_open: int
    reserved_nano: int


class Store(Protocol):
    """A ledger on durable storage. `apply`, `sweep` and `close` are for one thread; the questions are for any."""

    def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Carry out commands in order, in one durable transaction. A refused one leaves the others untouched.

        Raises `StoreError` if the transaction could not be made durable: then none of them has happened.
        """

    def sweep(self) -> int:
        """Void every open hold whose time is over, by the store's clock. Returns how many."""

    def keys(self) -> list[KeyRecord]:
        """Every key record."""

    def snapshot(self) -> Snapshot:
        """Fleet totals."""

    def close(self) -> None:
        """Release the storage. Safe to call twice."""
