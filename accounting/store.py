"""The port to a durable ledger. Implementations: `memory.py`, `sqlite.py`, `postgres.py`, one contract suite over all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from accounting.budget import BudgetState
from accounting.command import Command, Reply, Sample
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.request import Generation
from accounting.stay import Stay
from accounting.usage import Bucket, UsageQuery

# The place of a row in an answer, by which the next page is found: behind it.
Place = tuple[int | str, ...]
# As a `limit`: none.
ALL = 2**63 - 1
# Three times the longest deadline: what began in an hour is found without reading all that has ended since.
SLOT_MS_MAX = 30 * 60_000


class StoreError(Exception):
    """The store cannot do its work: nothing of what was asked has taken effect. The message says what to do."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key record as its last change has left it. `seq` counts the changes of all keys."""

    seq: int
    record: KeyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Fleet totals, and what is reserved at this moment."""

    totals: tuple[Total, ...]
    holds_open: int
    reserved_nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account. Positive is used: `posted_nano` of a prepaid credit is negative while there is some left."""

    account: str
    kind: str
    limit_nano: int | None
    posted_nano: int
    reserved_nano: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an account's entries do not say of it."""

    id: str
    kind: str
    limit_nano: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One immutable line of the ledger. The lines of one (kind, ref) sum to zero."""

    seq: int
    kind: str
    ref: str
    account: str
    amount_nano: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One line of the audit log: a change, who made it, and its JSON. It never holds a hash."""

    seq: int
    at_ms: int
    actor: str
    action: str
    content: str


@dataclass(frozen=True, slots=True)
class Fault:
    """An invariant that does not hold. `check` names it, `detail` says where."""

    check: str
    detail: str


class Store(Protocol):
    """A ledger on durable storage. `apply`, `sweep` and `close` are for one thread; the questions are for any.

    Long answers can be asked for in pages: `after` is the place of the last row that was seen (`Listing.place`), `limit` how
    many rows follow it at most.
    """

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

    def key_changes(self, after: Place = (), limit: int = ALL) -> list[KeyChange]:
        """The keys that were made or changed since, each once, in the order of their last changes."""

    def prices(self) -> list[Price]:
        """Every price version, by model and version."""

    def budgets(self, after: Place = (), limit: int = ALL) -> list[BudgetState]:
        """Every budget with the account of its current period, by scope and period."""

    def balances(self, after: Place = (), limit: int = ALL) -> list[Balance]:
        """Every account, by id."""

    def snapshot(self) -> Snapshot:
        """Fleet totals."""

    def generation(self, request_id: str) -> Generation | None:
        """What is known of one request."""

    def takeovers(self) -> list[tuple[str, int]]:
        """The open holds that a retry goes on with, and its attempt's number; by request id."""

    def usage(self, query: UsageQuery, after: Place = (), limit: int = ALL) -> list[Bucket]:
        """Rollups, summed by bucket and group; buckets without requests are left out. By start, then group."""

    def entries(self, after_seq: int, limit: int) -> list[Entry]:
        """Ledger lines in order of `seq`."""

    def ended_requests(self, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """The requests that ended in [from_ms, to_ms), in order of it, with the columns of the view `usage`."""

    def stays(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Stay]:
        """Those that overlap [from_ms, to_ms) and lasted less than `SLOT_MS_MAX`, in order of their ends."""

    def samples(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Sample]:
        """Those taken in [from_ms, to_ms), in order of it."""

    def audit(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[AuditLine]:
        """The changes that were made in [from_ms, to_ms), in order."""

    def verify(self) -> list[Fault]:
        """Recompute every invariant from the entries and holds: P1-P4, P10, R1, R2. Empty if all hold."""

    def close(self) -> None:
        """Release the storage. Safe to call twice."""
