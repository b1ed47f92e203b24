"""Every question that a gateway can ask of the ledger. Values only: they travel to its writer as commands do.

A new question is a class here, and a method of `Store`: the wire, the client and the server follow from its fields and from
the type of its answer.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, Generic, TypeVar, get_args, get_origin

from accounting.budget import BudgetState
from accounting.command import Sample
from accounting.request import Generation
from accounting.stay import Stay
from accounting.store import AuditLine, Balance, KeyChange, Place, Snapshot, Store
from accounting.usage import Bucket, UsageQuery

A = TypeVar("A")
R = TypeVar("R")


class Question(ABC, Generic[A]):
    """A question with a short answer, of the type `A`."""

    __slots__ = ()

    @abstractmethod
    def ask(self, store: Store) -> A:
        """The answer. Raises `StoreError`."""


class Listing(ABC, Generic[R]):
    """A question with a long answer: rows of the type `R` in an order, read page by page."""

    __slots__ = ()

    @abstractmethod
    def page(self, store: Store, after: Place, limit: int) -> list[R]:
        """So many rows behind a place at most. Raises `StoreError`."""

    @staticmethod
    @abstractmethod
    def place(row: R) -> Place:
        """Where a row is in that order: no two rows have the same place."""


@dataclass(frozen=True, slots=True)
class FleetTotals(Question[Snapshot]):
    """See `Store.snapshot`."""

    def ask(self, store: Store) -> Snapshot:
        return store.snapshot()


@dataclass(frozen=True, slots=True)
class Takeovers(Question[list[tuple[str, int]]]):
    """See `Store.takeovers`."""

    def ask(self, store: Store) -> list[tuple[str, int]]:
        return store.takeovers()


@dataclass(frozen=True, slots=True)
class OneRequest(Question[Generation | None]):
    """See `Store.generation`."""

    request_id: str

    def ask(self, store: Store) -> Generation | None:
        return store.generation(self.request_id)


@dataclass(frozen=True, slots=True)
class KeyChanges(Listing[KeyChange]):
    """See `Store.key_changes`."""

    def page(self, store: Store, after: Place, limit: int) -> list[KeyChange]:
        return store.key_changes(after, limit)

    @staticmethod
    def place(row: KeyChange) -> Place:
        return (row.seq,)


@dataclass(frozen=True, slots=True)
class Budgets(Listing[BudgetState]):
    """See `Store.budgets`."""

    def page(self, store: Store, after: Place, limit: int) -> list[BudgetState]:
        return store.budgets(after, limit)

    @staticmethod
    def place(row: BudgetState) -> Place:
        return row.budget.scope, str(row.budget.period)


@dataclass(frozen=True, slots=True)
class Balances(Listing[Balance]):
    """See `Store.balances`."""

    def page(self, store: Store, after: Place, limit: int) -> list[Balance]:
        return store.balances(after, limit)

    @staticmethod
    def place(row: Balance) -> Place:
        return (row.account,)


@dataclass(frozen=True, slots=True)
class Usage(Listing[Bucket]):
    """See `Store.usage`."""

    query: UsageQuery

    def page(self, store: Store, after: Place, limit: int) -> list[Bucket]:
        return store.usage(self.query, after, limit)

    @staticmethod
    def place(row: Bucket) -> Place:
        return row.start_ms, *row.group


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples(Listing[Sample]):
    """See `Store.samples`."""

    from_ms: int
    to_ms: int

    def page(self, store: Store, after: Place, limit: int) -> list[Sample]:
        return store.samples(self.from_ms, self.to_ms, after, limit)

    @staticmethod
    def place(row: Sample) -> Place:
        return row.at_ms, row.replica_id, row.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays(Listing[Stay]):
    """See `Store.stays`."""

    from_ms: int
    to_ms: int

    def page(self, store: Store, after: Place, limit: int) -> list[Stay]:
        return store.stays(self.from_ms, self.to_ms, after, limit)

    @staticmethod
    def place(row: Stay) -> Place:
        return row.to_ms, row.request_id, row.attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Listing[AuditLine]):
    """See `Store.audit`."""

    from_ms: int
    to_ms: int

    def page(self, store: Store, after: Place, limit: int) -> list[AuditLine]:
        return store.audit(self.from_ms, self.to_ms, after, limit)

    @staticmethod
    def place(row: AuditLine) -> Place:
        return (row.seq,)


QUESTIONS: tuple[type[Question[Any]], ...] = (FleetTotals, Takeovers, OneRequest)
LISTINGS: tuple[type[Listing[Any]], ...] = (KeyChanges, Budgets, Balances, Usage, Samples, Stays, Audit)


def answer_of(kind: type[Question[Any] | Listing[Any]]) -> Any:
    """The type of a question's answer, or of a listing's rows, as its class says it."""
    (base,) = kind.__orig_bases__  # type: ignore[union-attr]  # of every class with a generic base
    (answer,) = get_args(base)
    return GenericAlias(list, answer) if get_origin(base) is Listing else answer
