"""The port to a durable ledger. Implementations: `memory.py`, `sqlite.py`, `postgres.py`, one contract suite over all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from accounting.budget import BudgetState
from accounting.command import Command, Reply
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.usage import Bucket, UsageQuery


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


@dataclass(frozen=True, slots=True)
class Balance:
    """An account. Positive is used: `posted_nano` of a prepaid credit is negative while there is some left."""

    account: str
    kind: str
    limit_nano: int | None
    posted_nano: int
    reserved_nano: int


@dataclass(frozen=True, slots=True)
class Account:
    """What an account's entries do not say of it."""

    id: str
    kind: str
    limit_nano: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One immutable line of the ledger. The lines of one (kind, ref) sum to zero."""

    seq: int
    kind: str
    ref: str
    account: str
    amount_nano: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """An invariant that does not hold. `check` names it, `detail` says where."""

    check: str
    detail: str


class Store(Protocol):
    """A ledger on durable storage. `apply`, `sweep` and `close` are for one thread; the questions are for any."""

    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        """Carry out commands in order, in one durable transaction. A refused one leaves the others untouched.

        Raises `StoreError` if the transaction could not be made durable: then none of them has happened.
        """

    def sweep(self) -> int:
        """Void every open hold whose time is over, by the store's clock, and forget what has expired. Returns how many
        holds were voided.
        """

    def restore(self, accounts: Sequence[Account], prices: Sequence[Price], entries: Iterable[Entry]) -> None:
        """Rebuild an empty ledger from what was exported of another, in one transaction: entries keep their `seq`, balances
        are the sums of them. A limit below its account's balance is reached as for `SetBudget`. Raises `StoreError` if there
        are entries, or other prices of the same versions.
        """

    def keys(self) -> list[KeyRecord]:
        """Every key record, oldest first."""

    def prices(self) -> list[Price]:
        """Every price version, by model and version."""

    def budgets(self) -> list[BudgetState]:
        """Every budget with the account of its current period."""

    def balances(self) -> list[Balance]:
        """Every account, by id."""

    def snapshot(self) -> Snapshot:
        """Fleet totals."""

    def generation(self, request_id: str) -> dict[str, Any] | None:
        """What is known of one request: the columns of `hold`, and `attempts`, a list of those of `attempt`."""

    def usage(self, query: UsageQuery) -> list[Bucket]:
        """Rollups, summed by bucket and group; buckets without requests are left out. By start, then group."""

    def entries(self, after_seq: int, limit: int) -> list[Entry]:
        """Ledger lines in order of `seq`."""

    def records(self, what: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """Rows whose time lies in [from_ms, to_ms). `what`: "holds" (ended in it, with the columns of `usage`), "attempts"
        (whose slot overlaps it, with model, `charged` and `charged_nano`), "samples", "audit".
        """

    def verify(self) -> list[Fault]:
        """Recompute every invariant from the entries and holds: P1-P4, P10, R1, R2. Empty if all hold."""

    def close(self) -> None:
        """Release the storage. Safe to call twice."""
