"""The store against a reference model: commands in random order, with refusals, replays, expiry and restarts."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accounting.command import AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Result, Void
from accounting.price import Price
from accounting.sqlite import SqliteStore

TRIED = Attempt("replica_1", "stop", 1, 64, 1_196, 0, 150, ttft_ms=80, latency_ms=900)
REPLAYED = {
    Result.CREATED: Result.EXISTS,
    Result.POSTED: Result.ALREADY_POSTED,
    Result.VOIDED: Result.ALREADY_VOID,
}

AMOUNTS = st.integers(0, 100)
GRANTS = st.builds(Grant, st.sampled_from(["g1", "g2", "g3"]), st.sampled_from(["credit:a", "credit:new"]), AMOUNTS)
HOLDS = st.builds(
    lambda name, accounts, amount, expires_in_ms: Hold(
        name, "gw", "key", "m", 1, "default", (1,), 0, accounts, amount, "sha", expires_in_ms
    ),
    st.integers(1, 20).map("r{}".format),
    st.sampled_from([("credit:a",), ("credit:a", "credit:b"), ("credit:b", "credit:new")]),
    AMOUNTS,
    st.sampled_from([10, 20]),
)


@st.composite
def endings(draw: st.DrawFn, held: Iterable[Hold]) -> Post | Void:
    """The end of a hold, open or not; sometimes by a stale attempt, sometimes just above its amount."""
    hold = draw(st.sampled_from(list(held)))
    attempt = draw(st.sampled_from([1, 1, 1, 2]))
    if draw(st.booleans()):
        return Void(hold.request_id, attempt, Outcome.ENGINE_FAILED, TRIED)
    charged = draw(st.integers(0, hold.amount_nano + 1))
    return Post(hold.request_id, attempt, charged, Outcome.COMPLETE, TRIED)


@dataclass
class Held:
    """A hold of the model; `charged` is set when it is posted."""

    hold: Hold
    expires_at_ms: int
    state: str = "open"
    charged: int = 0


@dataclass
class Model:
    """What the ledger should be: sums over dictionaries, computed anew each time."""

    now_ms: int = 0
    grants: dict[str, Grant] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)

    def accounts(self) -> set[str]:
        return {grant.account for grant in self.grants.values()}

    def reserved(self, account: str) -> int:
        held = self.holds.values()
        return sum(one.hold.amount_nano for one in held if one.state == "open" and account in one.hold.accounts)

    def posted(self, account: str) -> int:
        charged = sum(one.charged for one in self.holds.values() if account in one.hold.accounts)
        return charged - sum(grant.amount_nano for grant in self.grants.values() if grant.account == account)

    def apply(self, command: Command) -> Result:
        match command:
            case Grant():
                return self._grant(command)
            case Hold():
                return self._hold(command)
            case Post() | Void():
                return self._end(command)
        raise NotImplementedError(command)

    def sweep(self) -> int:
        expired = [one for one in self.holds.values() if one.state == "open" and one.expires_at_ms <= self.now_ms]
        for one in expired:
            one.state = "void"
        return len(expired)

    def _grant(self, grant: Grant) -> Result:
        if grant.ref in self.grants:
            return Result.EXISTS
        self.grants[grant.ref] = grant
        return Result.CREATED

    def _hold(self, hold: Hold) -> Result:
        if hold.request_id in self.holds:
            same = self.holds[hold.request_id].hold.amount_nano == hold.amount_nano
            return Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT
        for account in hold.accounts:
            if account not in self.accounts():
                return Result.NO_SUCH_ACCOUNT
            if self.posted(account) + self.reserved(account) + hold.amount_nano > 0:
                return Result.NO_ROOM
        self.holds[hold.request_id] = Held(hold, self.now_ms + hold.expires_in_ms)
        return Result.CREATED

    def _end(self, end: Post | Void) -> Result:
        held = self.holds.get(end.request_id)
        if held is None:
            return Result.NO_SUCH_HOLD
        if held.state != "open":
            return Result.ALREADY_POSTED if held.state == "posted" else Result.ALREADY_VOID
        if end.attempt != 1:
            return Result.NOT_THE_CURRENT_ATTEMPT
        if isinstance(end, Void):
            held.state = "void"
            return Result.VOIDED
        if end.charged_nano > held.hold.amount_nano:
            return Result.ABOVE_THE_HOLD
        held.state, held.charged = "posted", end.charged_nano
        return Result.POSTED


class Ledger(RuleBasedStateMachine):
    """Every rule does the same to store and model; the invariants hold after every step."""

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory()
        self.file = Path(self.folder.name, "ledger.db")
        self.model = Model()
        self.done: list[tuple[Command, Result]] = []
        self.endings = 0  # as the store answered them
        self.store = SqliteStore(self.file, lambda: self.model.now_ms)
        self.store.apply([AddPrice(Price("m", 1, 1, 1))])
        self.db = sqlite3.connect(self.file, isolation_level=None)
        self.both(Grant("free a", "credit:a", 200), Grant("free b", "credit:b", 200))

    def teardown(self) -> None:
        self.db.close()
        self.store.close()
        self.folder.cleanup()

    @rule(commands=st.lists(HOLDS | HOLDS | HOLDS | GRANTS, min_size=1, max_size=5))
    def hold(self, commands: list[Command]) -> None:
        """One transaction: a refused command must not undo its neighbours."""
        self.both(*commands)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        held = [one.hold for one in self.model.holds.values()]
        self.both(*data.draw(st.lists(endings(held), min_size=1, max_size=5)))

    @rule(after_ms=st.sampled_from([0, 5, 10]))
    def sweep(self, after_ms: int) -> None:
        self.model.now_ms += after_ms
        swept = self.store.sweep()
        assert swept == self.model.sweep()
        self.endings += swept

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Any command that took effect says so when it comes again, and changes nothing."""
        command, result = data.draw(st.sampled_from(self.done))
        before = self.dump()
        assert self.store.apply([command]) == [REPLAYED[result]]
        assert self.dump() == before

    @rule()
    def restart(self) -> None:
        before = self.dump()
        self.store.close()
        self.store = SqliteStore(self.file, lambda: self.model.now_ms)
        assert self.dump() == before

    @invariant()
    def every_transaction_sums_to_zero(self) -> None:
        assert self.ask("SELECT kind, ref FROM entry GROUP BY kind, ref HAVING sum(amount_nano) <> 0") == []

    @invariant()
    def an_account_is_the_sum_of_its_entries_and_open_holds(self) -> None:
        booked = "SELECT coalesce(sum(amount_nano), 0) FROM entry WHERE account_id = account.id"
        held = "SELECT coalesce(sum(amount_nano), 0) FROM hold, json_each(parts) WHERE value = account.id AND state = 'open'"
        assert self.ask(f"SELECT id FROM account WHERE posted_nano <> ({booked}) OR reserved_nano <> ({held})") == []

    @invariant()
    def no_account_is_above_its_limit(self) -> None:
        assert self.ask("SELECT id FROM account WHERE posted_nano + reserved_nano > limit_nano") == []

    @invariant()
    def a_hold_ends_at_most_once(self) -> None:
        assert self.ask("SELECT count(*) FROM hold WHERE state <> 'open'") == [(self.endings,)]

    @invariant()
    def the_store_is_the_model(self) -> None:
        assert self.ask("SELECT id, posted_nano, reserved_nano FROM account WHERE kind = 'credit' ORDER BY id") == [
            (account, self.model.posted(account), self.model.reserved(account))
            for account in sorted(self.model.accounts())
        ]
        assert self.ask("SELECT request_id, state, coalesce(charged_nano, 0) FROM hold ORDER BY request_id") == [
            (name, held.state, held.charged) for name, held in sorted(self.model.holds.items())
        ]

    def both(self, *commands: Command) -> None:
        """Store and model give the same answers."""
        results = self.store.apply(commands)
        assert results == [self.model.apply(command) for command in commands]
        for command, result in zip(commands, results, strict=True):
            if result in REPLAYED:
                self.done.append((command, result))
            if result in {Result.POSTED, Result.VOIDED}:
                self.endings += 1

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(self.db.execute(query)) as rows:
            return rows.fetchall()

    def dump(self) -> list[list[tuple[Any, ...]]]:
        return [self.ask(f"SELECT * FROM {table}") for table in ("hold", "entry", "account", "attempt")]


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
