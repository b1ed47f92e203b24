"""`Store` over SQL: commands in one transaction, each in a savepoint of its own; questions on connections of their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from accounting.bounds import unstorable
from accounting.budget import BudgetState, UnknownScope
from accounting.command import (
    AddKey,
    AddPrice,
    ChangeKey,
    Command,
    DropBudget,
    FirstByte,
    Grant,
    Hold,
    Post,
    Refund,
    Reply,
    Result,
    RotateKey,
    Sample,
    SetBudget,
    Void,
)
from accounting.failpoint import failpoint
from accounting.key import KeyRecord
from accounting.leap import Leaps
from accounting.price import Price
from accounting.request import Generation
from accounting.sql import books, holds, keys, questions, verify
from accounting.sql.database import Database, Refused, Undo
from accounting.sql.rates import forget_minutes
from accounting.sql.repeats import forget_responses
from accounting.sql.restore import restore
from accounting.stay import Stay
from accounting.store import ALL, Account, AuditLine, Balance, Entry, Fault, KeyChange, Place, Snapshot
from accounting.usage import Bucket, UsageQuery

T = TypeVar("T")

STEPS: dict[type[Any], Callable[[Database, Any], Reply]] = {
    Hold: holds.open_hold,
    FirstByte: holds.first_byte,
    Post: holds.post,
    Void: holds.void,
    Grant: books.grant,
    Refund: books.refund,
    SetBudget: books.set_budget,
    DropBudget: books.drop_budget,
    AddPrice: books.add_price,
    Sample: books.sample,
    AddKey: keys.add_key,
    ChangeKey: keys.change_key,
    RotateKey: keys.rotate_key,
}


class SqlStore(ABC):
    """Implements `accounting.store.Store`, but for what differs between databases."""

    _leaps: Leaps

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Database]:
        """A durable transaction, alone on the ledger. Raises `StoreError`."""

    @abstractmethod
    def _reader(self) -> AbstractContextManager[Database]:
        """A consistent view for questions, from any thread. Raises `StoreError`."""

    @abstractmethod
    def close(self) -> None:
        """See `Store.close`."""

    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Store.apply`. Raises `StoreError`."""
        with self._transaction() as db:
            replies = [_carry_out(db, command) for command in commands]
            failpoint("writer.batch_open")
            return replies

    def sweep(self) -> int:
        """See `Store.sweep`. Raises `StoreError`."""
        with self._transaction() as db:
            leapt_ms, ahead_ms = self._leaps.since_last(db.now_ms)
            if leapt_ms:
                holds.postpone(db, leapt_ms)
            forget_minutes(db)
            forget_responses(db)
            voided = holds.expire(db)
            failpoint("sweeper.middle")
        self._leaps.remember(ahead_ms)
        return voided

    def restore(self, accounts: Sequence[Account], prices: Sequence[Price], entries: Iterable[Entry]) -> None:
        """See `Store.restore`. Raises `StoreError`."""
        with self._transaction() as db:
            restore(db, accounts, prices, entries)

    def keys(self) -> list[KeyRecord]:
        """See `Store.keys`."""
        return self._ask(questions.keys)

    def key_changes(self, after: Place = (), limit: int = ALL) -> list[KeyChange]:
        """See `Store.key_changes`."""
        return self._ask(questions.key_changes, after, limit)

    def prices(self) -> list[Price]:
        """See `Store.prices`."""
        return self._ask(questions.prices)

    def budgets(self, after: Place = (), limit: int = ALL) -> list[BudgetState]:
        """See `Store.budgets`."""
        return self._ask(questions.budgets, after, limit)

    def balances(self, after: Place = (), limit: int = ALL) -> list[Balance]:
        """See `Store.balances`."""
        return self._ask(questions.balances, after, limit)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._ask(questions.snapshot)

    def generation(self, request_id: str) -> Generation | None:
        """See `Store.generation`."""
        return self._ask(questions.generation, request_id)

    def takeovers(self) -> list[tuple[str, int]]:
        """See `Store.takeovers`."""
        return self._ask(questions.takeovers)

    def usage(self, query: UsageQuery, after: Place = (), limit: int = ALL) -> list[Bucket]:
        """See `Store.usage`."""
        return self._ask(questions.usage, query, after, limit)

    def entries(self, after_seq: int, limit: int) -> list[Entry]:
        """See `Store.entries`."""
        return self._ask(questions.entries, after_seq, limit)

    def ended_requests(self, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """See `Store.ended_requests`."""
        return self._ask(questions.ended_requests, from_ms, to_ms)

    def stays(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Stay]:
        """See `Store.stays`."""
        return self._ask(questions.stays, from_ms, to_ms, after, limit)

    def samples(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Sample]:
        """See `Store.samples`."""
        return self._ask(questions.samples, from_ms, to_ms, after, limit)

    def audit(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[AuditLine]:
        """See `Store.audit`."""
        return self._ask(questions.audit, from_ms, to_ms, after, limit)

    def verify(self) -> list[Fault]:
        """See `Store.verify`."""
        return self._ask(verify.faults)

    def _ask(self, question: Callable[..., T], *arguments: object) -> T:
        with self._reader() as db:
            return question(db, *arguments)


def _carry_out(db: Database, command: Command) -> Reply:
    """Carry out one command; what cannot be done is undone, and leaves its neighbours in the transaction alone."""
    if text := unstorable(command):
        return Reply(Result.INVALID, blocked_by=text)
    db.later("SAVEPOINT command")
    try:
        reply = STEPS[type(command)](db, command)
        db.change("RELEASE SAVEPOINT command")
    except Undo as undo:
        reply = undo.reply
    except (Refused, UnknownScope):
        reply = Reply(Result.INVALID)
    else:
        return reply
    db.change("ROLLBACK TO SAVEPOINT command")
    db.later("RELEASE SAVEPOINT command")
    return reply
