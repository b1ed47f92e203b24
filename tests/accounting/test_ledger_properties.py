"""Every store against the reference model, `MemoryStore`: the same commands in random order, with refusals, retries, replays,
expiry, clock moves and restarts. Numbers are those of `docs/money.md`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounting.budget import Period, period_label
from accounting.command import (
    AddKey,
    AddPrice,
    Attempt,
    Command,
    DropBudget,
    FirstByte,
    Grant,
    Hold,
    Outcome,
    Post,
    Refund,
    Reply,
    Result,
    SetBudget,
    Void,
)
from accounting.limits import NO_LIMITS, RateLimits
from accounting.memory import Held, MemoryStore
from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore
from accounting.store import Store
from accounting.usage import UsageQuery, Width
from tests.accounting.conftest import emptied
from tests.accounting.examples import KEY, PRICE, at

Clock = Callable[[], int]
# Opens the same ledger at each call.
Opener = Callable[[Clock], Store]

EVER_MS = at("2100-01-01T00:00")
OPENING: tuple[Command, ...] = (
    AddPrice(PRICE),
    AddKey(KEY),
    Grant(ref="free", account="credit:org", amount_nano=400),
    Grant(ref="little", account="credit:poor", amount_nano=60),
)
# What took effect, and so takes none when it comes again.
DONE = {Result.CREATED, Result.TAKEN_OVER, Result.POSTED, Result.VOIDED, Result.CHANGED}
ONCE = (Hold, FirstByte, Post, Void, Grant, Refund)

# Keys with their root, project, organisation and limits. The second is a rotation of the first, the last has no credit.
STRICT = RateLimits(requests_per_minute=9, images_per_minute=9, tokens_per_minute=250, concurrency=4)
CALLERS = st.sampled_from(
    [
        {"key_id": "key_1", "project_id": "project", "org_id": "org", "limits": STRICT},
        {"key_id": "key_2", "root_key_id": "key_1", "project_id": "project", "org_id": "org", "limits": STRICT},
        {"key_id": "key_3", "project_id": "project", "org_id": "org", "limits": NO_LIMITS},
        {"key_id": "key_3", "project_id": "project", "org_id": "org", "limits": RateLimits(images_per_minute=3)},
        {"key_id": "key_4", "project_id": "other", "org_id": "poor", "limits": RateLimits(tokens_per_minute=120)},
        {"key_id": "key_5", "project_id": "other", "org_id": "nobody", "limits": NO_LIMITS},
    ]
)
HOLDS = st.builds(
    lambda caller, **fields: Hold(request_id="", gateway_id="gw", model="m", output_units=0, **caller, **fields),
    caller=CALLERS,
    price_version=st.sampled_from([1] * 9 + [2]),
    tier=st.sampled_from(["default", "batch"]),
    image_units=st.sampled_from([(), (1,), (1, 3)]),
    tokens_max=st.integers(0, 60),
    amount_nano=st.integers(0, 40),
    body_sha=st.sampled_from(["a", "b"]),
    expires_in_ms=st.sampled_from([20_000, 3_600_000]),
    user_id=st.sampled_from([None] * 4 + ["ann"] * 4 + ["a" * 1_025, "a\0"]),
    idempotency_key=st.sampled_from([None, None, None, "order 7", "order 8"]),
)
RECORDS = st.builds(
    Attempt,
    replica_id=st.just("replica_1"),
    finish=st.just("stop"),
    images=st.integers(0, 2),
    text_tokens=st.integers(0, 30),
    vision_tokens=st.integers(0, 30),
    cached_tokens=st.integers(0, 5),
    output_tokens=st.integers(0, 30),
    ttft_ms=st.just(80),
    latency_ms=st.just(900),
    slot_from_ms=st.just(at("2026-11-30T23:58")),
    slot_to_ms=st.just(at("2026-11-30T23:59")),
)
GRANTS = st.builds(
    Grant,
    ref=st.sampled_from(["g1", "g2"]),
    account=st.sampled_from(["credit:org", "credit:poor"]),
    amount_nano=st.integers(0, 100),
)
SCOPES = st.sampled_from(
    [
        "key:key_1", "key:key_9", "project:org/project", "project:poor/other", "project:nobody/other", "project:other",
        "org:org", "team:red",
    ]
)  # fmt: skip
BUDGETS = st.builds(
    SetBudget,
    scope=SCOPES,
    period=st.sampled_from(Period),
    limit_nano=st.integers(0, 250),
    alert_nano=st.sampled_from([None, 20, 100]),
) | st.builds(DropBudget, SCOPES, st.sampled_from(Period))
PRICES = st.sampled_from([AddPrice(replace(PRICE, version=2)), AddPrice(replace(PRICE, unit_nano=5))])
# A moment, a minute, an hour, past the ten minutes of retries and the 24 hours of idempotency keys.
STEPS_MS = st.sampled_from([1, 1, 10_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000])


class Ledger(RuleBasedStateMachine):
    """Every rule does the same to store and model; the invariants hold after every step."""

    def __init__(self, opening: Callable[[], "contextmanager[Opener]"]) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.open = self.stack.enter_context(opening())
        self.now_ms = at("2026-11-30T23:58")
        self.model = MemoryStore(self.clock)
        self.store = self.open(self.clock)
        self.done: list[Command] = []
        self.requests = 0
        self.both(*OPENING)

    def teardown(self) -> None:
        self.store.close()
        self.stack.close()

    def clock(self) -> int:
        return self.now_ms

    @initialize(budgets=st.lists(BUDGETS, max_size=4))
    def bound(self, budgets: list[Command]) -> None:
        self.both(*budgets)

    @rule(holds=st.lists(HOLDS, min_size=3, max_size=9))
    def hold(self, holds: list[Hold]) -> None:
        """One transaction: a refused command must not undo its neighbours."""
        self.both(*(replace(hold, request_id=self.new_id()) for hold in holds))

    @precondition(lambda self: self.known())
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Ends and first bytes of holds that are there, in any order; some by an attempt that is not the one."""
        self.both(*data.draw(st.lists(st.sampled_from(self.known()[-12:]).flatmap(steps_of), min_size=2, max_size=8)))

    @precondition(lambda self: self.known())
    @rule(data=st.data(), is_retry=st.booleans())
    def come_again(self, data: st.DataObject, is_retry: bool) -> None:
        """A client sends what it has sent before, under another id."""
        hold = data.draw(st.sampled_from(self.known())).hold
        self.both(replace(hold, request_id=self.new_id(), gateway_id="gw_2", is_retry=is_retry))

    @precondition(lambda self: self.open_holds())
    @rule(data=st.data(), record=RECORDS)
    def settle(self, data: st.DataObject, record: Attempt) -> None:
        """The usual end."""
        self.both(
            *(
                Post(
                    request_id=held.hold.request_id,
                    attempt=held.attempt,
                    charged_nano=held.hold.amount_nano,
                    outcome=Outcome.COMPLETE,
                    record=record,
                )
                for held in data.draw(st.lists(st.sampled_from(self.open_holds()), min_size=1, max_size=6))
            )
        )

    @precondition(lambda self: self.known())
    @rule(data=st.data(), amount_nano=st.integers(0, 20))
    def give_back(self, data: st.DataObject, amount_nano: int) -> None:
        held = data.draw(st.sampled_from([held for held in self.known() if held.charged_nano] or self.known()))
        self.both(
            Refund(
                ref=data.draw(st.sampled_from(["b1", "b2", "b3", "b4"])),
                request_id=held.hold.request_id,
                amount_nano=amount_nano,
                reason="blurred",
            )
        )

    @rule(command=BUDGETS | BUDGETS | GRANTS | PRICES)
    def administer(self, command: Command) -> None:
        self.both(command)

    @rule(ms=STEPS_MS, sweep=st.booleans())
    def wait(self, ms: int, sweep: bool) -> None:
        self.now_ms += ms
        if sweep:
            assert self.store.sweep() == self.model.sweep()

    @rule(holds=st.lists(HOLDS, min_size=1, max_size=4))
    def hold_in_the_last_millisecond_of_a_day(self, holds: list[Hold]) -> None:
        """What is charged for them is charged later."""
        self.now_ms += 86_400_000 - 1 - self.now_ms % 86_400_000
        self.hold(holds)
        self.now_ms += 1

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """P6: what took effect, sent again from the start up to anywhere, changes nothing."""
        before = dump(self.store)
        self.both(*self.done[: data.draw(st.integers(1, len(self.done)))])
        assert dump(self.store) == before

    @rule()
    def restart(self) -> None:
        """What was answered is there."""
        before = dump(self.store)
        self.store.close()
        self.store = self.open(self.clock)
        assert dump(self.store) == before

    @invariant()
    def the_books_are_sound(self) -> None:
        """P1, P2, P3, P4, P7, P10: sums are zero, accounts are their entries and holds, no limit is passed, a hold ends once
        and is charged at most its amount, rollups are the charges.
        """
        assert self.store.verify() == []

    @invariant()
    def the_store_is_the_model(self) -> None:
        """P5: every charge, balance and answer is the reference model's."""
        assert dump(self.store) == dump(self.model)

    @invariant()
    def the_period_of_the_admission_pays(self) -> None:
        """P13: whenever a charge is booked."""
        for entry in self.store.entries(0, 10_000):
            if entry.kind == "charge" and entry.account.startswith("bud:"):
                admitted_ms = self.model._holds[entry.ref].created_at_ms
                label = entry.account.rpartition(":")[2]
                assert label in {period_label(period, admitted_ms) for period in Period}

    @invariant()
    def the_price_of_the_admission_stays(self) -> None:
        """P14: of every request that ended."""
        for row in self.store.ended_requests(0, EVER_MS):
            assert row["price_version"] == self.model._holds[row["request_id"]].hold.price_version

    def both(self, *commands: Command) -> None:
        """Store and model give the same replies."""
        replies: list[Reply] = self.store.apply(commands)
        assert replies == self.model.apply(commands)
        self.done += [
            command
            for command, reply in zip(commands, replies, strict=True)
            if reply.result in DONE and isinstance(command, ONCE) and command not in self.done
        ]

    def known(self) -> list[Held]:
        return list(self.model._holds.values())

    def open_holds(self) -> list[Held]:
        return [held for held in self.known() if held.state == "open"]

    def new_id(self) -> str:
        self.requests += 1
        return f"r{self.requests}"


def steps_of(held: Held) -> st.SearchStrategy[Command]:
    """What may come next in the life of a hold, now and then by another attempt, or one above its amount."""
    hold, attempt = held.hold, st.sampled_from([held.attempt] * 4 + [1, 4])
    return (
        st.builds(
            Post,
            request_id=st.just(hold.request_id),
            attempt=attempt,
            charged_nano=st.integers(0, hold.amount_nano + 1),
            outcome=st.sampled_from([Outcome.COMPLETE, Outcome.CLIENT_LEFT]),
            record=RECORDS,
            response=st.sampled_from([None, "{}"]),
        )
        | st.builds(
            Void,
            request_id=st.just(hold.request_id),
            attempt=attempt,
            outcome=st.just(Outcome.ENGINE_FAILED),
            record=RECORDS,
        )
        | st.builds(FirstByte, st.just(hold.request_id), attempt)
        | st.just(hold)
    )


def dump(store: Store) -> list[object]:
    """What a store says of itself. Lines of the audit log have no other source than the commands."""
    groups = ("org_id", "project_id", "key_id", "user_id", "model", "tier")
    return [
        store.balances(),
        store.budgets(),
        store.keys(),
        store.prices(),
        store.snapshot(),
        store.entries(0, 10_000),
        [store.ended_requests(0, EVER_MS), store.stays(0, EVER_MS)],
        [[line.content for line in store.audit(0, EVER_MS)]],
        [store.usage(UsageQuery(width=width, from_ms=0, to_ms=EVER_MS, group_by=groups)) for width in Width],
        store.usage(
            UsageQuery(
                width=Width.DAY,
                from_ms=0,
                to_ms=EVER_MS,
                group_by=("project_id",),
                key_ids=("key_1", "key_3"),
                user_ids=("ann",),
            )
        ),
    ]


@contextmanager
def sqlite_file() -> Iterator[Opener]:
    with TemporaryDirectory() as folder:
        yield lambda clock: SqliteStore(Path(folder, "ledger.db"), clock)


def test_sqlite_does_what_the_model_does():
    """In every order that was tried."""
    run_state_machine_as_test(
        lambda: Ledger(sqlite_file),
        settings=settings(max_examples=60, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]),
    )


def test_postgresql_does_what_the_model_does(kept_postgres_url: str):
    """The same, in fewer orders: the statements are the same."""

    @contextmanager
    def database() -> Iterator[Opener]:
        url = emptied(kept_postgres_url)
        yield lambda clock: PostgresStore(url, clock)

    run_state_machine_as_test(
        lambda: Ledger(database),
        settings=settings(max_examples=10, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]),
    )
