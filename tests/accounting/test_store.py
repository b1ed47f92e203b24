"""The contract of `accounting.store.Store`, the same for every implementation."""

import string
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from accounting import questions
from accounting.budget import Budget, BudgetState, Period
from accounting.command import (
    AddKey,
    AddPrice,
    ChangeKey,
    Command,
    DropBudget,
    FirstByte,
    Grant,
    Outcome,
    Post,
    Refund,
    Reply,
    Result,
    RotateKey,
    Sample,
    SetBudget,
    Void,
)
from accounting.limits import LimitState, RateLimits
from accounting.memory import MemoryStore
from accounting.postgres import PostgresStore
from accounting.questions import Listing
from accounting.request import EndedAttempt, Generation, Units
from accounting.sqlite import SqliteStore
from accounting.stay import Stay
from accounting.store import ALL, SLOT_MS_MAX, Account, Balance, Entry, Place, Snapshot, Store, StoreError, Total
from accounting.usage import Bucket, UsageQuery, Width
from tests.accounting.conftest import Clock
from tests.accounting.examples import (
    CREDIT_NANO,
    HOLD,
    KEY,
    OPENING,
    POST,
    PRICE,
    TRIED,
    VOID,
    answer,
    at,
    results,
)

LAST_MS = at("2026-11-30T23:59:59.999")  # of a day and of a month
RETRY = replace(HOLD, request_id="r2", gateway_id="gw_2", is_retry=True)
NAMED = replace(HOLD, idempotency_key="order 7")
SAMPLE = Sample(
    replica_id="replica_1",
    epoch="epoch_1",
    model="m",
    at_ms=1_000,
    state="ready",
    rent_nano_per_hour=4_590_000_000,
    slots_held=2,
    in_flight=1,
    prompt_tokens=9,
    output_tokens=5,
)
YEAR = 31_536_000_000
EVER = 4_102_444_800_000


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def blank(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Store]:
    """A store with nothing in it."""
    with closing(opened(request, clock)) as store:
        yield store


def opened(request: pytest.FixtureRequest, clock: Clock) -> Store:
    match request.param:
        case "memory":
            return MemoryStore(clock)
        case "sqlite":
            return SqliteStore(request.getfixturevalue("file"), clock)
    return PostgresStore(request.getfixturevalue("postgres_ledger_url"), clock)


@pytest.fixture
def store(blank: Store) -> Store:
    """A store with one price, and one organisation that has credit."""
    blank.apply(OPENING)
    return blank


def everything(store: Store) -> list[object]:
    """All that a store says of itself."""
    questions = [
        UsageQuery(width=width, from_ms=0, to_ms=EVER, group_by=("org_id", "key_id", "user_id", "model"))
        for width in Width
    ]
    return [
        store.balances(),
        store.budgets(),
        store.keys(),
        store.key_changes(),
        store.snapshot(),
        store.entries(0, 1_000),
        [store.ended_requests(0, EVER), store.stays(0, EVER), store.samples(0, EVER), store.audit(0, EVER)],
        [store.generation(name) for name in ("r1", "r2", "r3")],
        [store.usage(query) for query in questions],
        store.verify(),
    ]


def balance(store: Store, account: str) -> tuple[int, int]:
    """What is posted and reserved in an account."""
    (found,) = (one for one in store.balances() if one.account == account)
    return found.posted_nano, found.reserved_nano


# --- Holds


def test_a_hold_reserves_its_amount(store: Store):
    """What is held is no longer free, but nothing is charged yet."""
    assert answer(store, HOLD) == Reply(Result.CREATED, request_id="r1")
    assert balance(store, "credit:org") == (-CREDIT_NANO, 4_000)
    assert {entry.kind for entry in store.entries(0, 100)} == {"grant"}


@pytest.mark.parametrize(
    ("amount_nano", "result"),
    [
        (0, Result.CREATED),
        (10_000, Result.CREATED),  # -10,000 + 10,000 <= 0
        (10_001, Result.NO_ROOM),  # -10,000 + 10,001 > 0
    ],
)
def test_credit_is_spent_to_the_last_nano_dollar(store: Store, amount_nano: int, result: Result):
    """A hold fits if the account's limit is kept; the limit itself is within."""
    assert results(store, replace(HOLD, amount_nano=amount_nano)) == [result]


def test_what_is_reserved_counts_against_the_limit(store: Store):
    """A refused hold leaves those before and after it in the batch untouched."""
    batch = [replace(HOLD, request_id=f"r{amount}", amount_nano=amount) for amount in (6_000, 4_001, 4_000)]
    assert results(store, *batch) == [Result.CREATED, Result.NO_ROOM, Result.CREATED]
    assert balance(store, "credit:org") == (-CREDIT_NANO, 10_000)


@pytest.mark.parametrize(
    ("change", "reply"),
    [
        ({"org_id": "poor"}, Reply(Result.NO_SUCH_ACCOUNT, blocked_by="credit:poor")),
        ({"model": "unpriced"}, Reply(Result.NO_SUCH_PRICE)),
        ({"price_version": 2}, Reply(Result.NO_SUCH_PRICE)),
        ({"amount_nano": 10_001}, Reply(Result.NO_ROOM, blocked_by="credit:org")),
        ({"amount_nano": -1}, Reply(Result.INVALID)),
        ({"amount_nano": 2**63}, Reply(Result.INVALID)),
        ({"tier": "free"}, Reply(Result.INVALID)),
        ({"amount_nano": 5_001}, Reply(Result.NO_ROOM, blocked_by="bud:project:org/project:1970-01")),
        ({"tokens_max": 5_001}, Reply(Result.RATE_LIMITED, blocked_by="tokens_per_minute", retry_after_ms=59_000)),
    ],
)
def test_a_refused_hold_leaves_nothing_behind(store: Store, change: dict[str, Any], reply: Reply):
    """No row, no reservation in the accounts that had room, no account of a period, no share of a limit, no memory of its
    idempotency key.
    """
    store.apply(
        [
            SetBudget(scope="project:org/project", period=Period.MONTH, limit_nano=5_000),
            SetBudget(scope="org:org", period=Period.DAY, limit_nano=50_000),
        ]
    )
    before = everything(store)
    hold = replace(
        HOLD,
        limits=RateLimits(requests_per_minute=1, images_per_minute=2, tokens_per_minute=5_000, concurrency=1),
        idempotency_key="order 7",
    )
    assert answer(store, replace(hold, **change)) == reply
    assert everything(store) == before
    assert results(store, replace(hold, body_sha="other")) == [Result.CREATED]


@pytest.mark.parametrize(
    "change", [{"key_id": "key_2"}, {"body_sha": "other"}, {"amount_nano": 1}, {"model": "n"}, {"price_version": 2}]
)
def test_a_request_id_is_used_once(store: Store, change: dict[str, Any]):
    """Another request under the same id is named, and reserves nothing."""
    other = replace(HOLD, **change)
    assert results(store, HOLD, other) == [Result.CREATED, Result.EXISTS_WITH_DIFFERENT_CONTENT]
    assert store.snapshot().reserved_nano == 4_000


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": "a" * 1_025}, "user_id"),
        ({"user_id": "\0"}, "user_id"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"metadata": '"\0"'}, "metadata"),
        ({"idempotency_key": "é" * 513}, "idempotency_key"),
        ({"project_id": "p" * 256}, "project_id"),
    ],
)
def test_a_hold_whose_charge_could_not_be_kept_is_refused(store: Store, change: dict[str, str], field: str):
    """By its field, with the engine not yet asked; its neighbours are not harmed."""
    other = replace(HOLD, request_id="r2")
    assert store.apply([replace(HOLD, **change), other]) == [
        Reply(Result.INVALID, blocked_by=field),
        Reply(Result.CREATED, request_id="r2"),
    ]


def test_every_hold_that_is_taken_can_be_charged(store: Store):
    """With the longest of every name, and characters that no index compresses."""
    texts = {name: noise(255) for name in ("request_id", "key_id", "project_id", "body_sha", "gateway_id")}
    org_id, model, user_id = noise(240), noise(255), noise(1_024)
    longest = replace(HOLD, **texts, org_id=org_id, model=model, user_id=user_id, idempotency_key=noise(1_024))
    store.apply([AddPrice(replace(PRICE, model=model)), Grant(ref="g", account=f"credit:{org_id}", amount_nano=10_000)])
    store.apply([SetBudget(scope=f"project:{org_id}/{texts['project_id']}", period=Period.DAY, limit_nano=10_000)])
    post = replace(POST, request_id=texts["request_id"], response="{}")
    assert results(store, longest, post) == [Result.CREATED, Result.POSTED]
    assert results(
        store, Refund(ref=noise(1_024), request_id=texts["request_id"], amount_nano=1, reason="blurred")
    ) == [Result.CREATED]


def noise(size: int) -> str:
    """So many letters without an order."""
    return "".join(Random(size).choices(string.ascii_letters, k=size))  # no secret


# --- Their ends


def test_a_post_charges_and_releases_the_rest(store: Store):
    """The charge is booked against revenue; the hold is gone."""
    assert store.apply([HOLD, POST]) == [Reply(Result.CREATED, request_id="r1"), Reply(Result.POSTED, request_id="r1")]
    assert [(entry.account, entry.amount_nano) for entry in store.entries(0, 100) if entry.ref == "r1"] == [
        ("credit:org", 3_000),
        ("revenue", -3_000),
    ]
    assert balance(store, "credit:org") == (-7_000, 0)


def test_a_charge_of_nothing_books_nothing(store: Store):
    """The ledger has no lines of zero; the request counts all the same."""
    assert results(store, HOLD, replace(POST, charged_nano=0)) == [Result.CREATED, Result.POSTED]
    assert {entry.kind for entry in store.entries(0, 100)} == {"grant"}
    assert [bucket.requests for bucket in store.usage(UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR))] == [1]


def test_a_charge_above_the_hold_is_refused(store: Store):
    """P7: the hold stays open, and a charge of all of it is taken."""
    posts = [replace(POST, charged_nano=charged) for charged in (4_001, 4_000)]
    assert results(store, HOLD, *posts) == [Result.CREATED, Result.ABOVE_THE_HOLD, Result.POSTED]


@pytest.mark.parametrize("charged_nano", [-1, 2**63])
def test_a_charge_that_is_none_is_refused(store: Store, charged_nano: int):
    """Below zero, or beyond what a ledger can count: the hold stays as it is."""
    store.apply([HOLD])
    before = everything(store)
    (result,) = results(store, replace(POST, charged_nano=charged_nano))
    assert result in {Result.ABOVE_THE_HOLD, Result.INVALID}
    assert everything(store) == before


@pytest.mark.parametrize("end", [POST, VOID])
def test_an_end_that_cannot_be_recorded_is_none(store: Store, end: Post | Void):
    """Its hold stays open, and its neighbours are not harmed."""
    beyond = replace(end, record=replace(TRIED, text_tokens=2**63))
    assert results(store, HOLD, beyond, replace(HOLD, request_id="r2")) == [
        Result.CREATED,
        Result.INVALID,
        Result.CREATED,
    ]
    assert balance(store, "credit:org") == (-CREDIT_NANO, 8_000)
    assert results(store, end) == [Result.POSTED if end is POST else Result.VOIDED]
    assert store.verify() == []


def test_a_void_releases_everything(store: Store):
    """Nothing is charged, and what was tried is recorded all the same."""
    assert store.apply([HOLD, VOID]) == [Reply(Result.CREATED, request_id="r1"), Reply(Result.VOIDED, request_id="r1")]
    assert balance(store, "credit:org") == (-CREDIT_NANO, 0)
    generation = store.generation("r1")
    assert generation
    assert [(tried.record.replica_id, tried.charged) for tried in generation.attempts] == [("replica_1", False)]


@pytest.mark.parametrize(
    ("first", "then", "result"),
    [
        (POST, POST, Result.ALREADY_POSTED),
        (POST, replace(POST, charged_nano=1), Result.ALREADY_POSTED),
        (POST, VOID, Result.ALREADY_POSTED),
        (POST, FirstByte("r1", 1), Result.ALREADY_POSTED),
        (VOID, VOID, Result.ALREADY_VOID),
        (VOID, POST, Result.ALREADY_VOID),
        (VOID, FirstByte("r1", 1), Result.ALREADY_VOID),
        (POST, HOLD, Result.EXISTS),
        (VOID, HOLD, Result.EXISTS),
        (HOLD, HOLD, Result.EXISTS),
        (HOLD, replace(POST, attempt=2), Result.NOT_THE_CURRENT_ATTEMPT),
        (HOLD, replace(VOID, attempt=2), Result.NOT_THE_CURRENT_ATTEMPT),
        (HOLD, FirstByte("r1", 2), Result.NOT_THE_CURRENT_ATTEMPT),
        (HOLD, replace(POST, request_id="r2"), Result.NO_SUCH_HOLD),
        (HOLD, replace(VOID, request_id="r2"), Result.NO_SUCH_HOLD),
        (HOLD, FirstByte("r2", 1), Result.NO_SUCH_HOLD),
        (FirstByte("r1", 1), FirstByte("r1", 1), Result.CHANGED),
        (
            Grant(ref="g", account="credit:org", amount_nano=5),
            Grant(ref="g", account="credit:org", amount_nano=5),
            Result.EXISTS,
        ),
        (
            Grant(ref="g", account="credit:org", amount_nano=5),
            Grant(ref="g", account="credit:org", amount_nano=6),
            Result.EXISTS_WITH_DIFFERENT_CONTENT,
        ),
        (
            Grant(ref="g", account="credit:org", amount_nano=5),
            Grant(ref="g", account="credit:new", amount_nano=5),
            Result.EXISTS_WITH_DIFFERENT_CONTENT,
        ),
        (AddKey(KEY, credit_nano=500), AddKey(KEY, credit_nano=500), Result.EXISTS),
        (AddKey(KEY), ChangeKey(KEY), Result.CHANGED),
        (AddKey(KEY), AddKey(replace(KEY, id="key_2")), Result.EXISTS),
        (HOLD, AddPrice(PRICE), Result.EXISTS),
        (HOLD, AddPrice(replace(PRICE, unit_nano=999)), Result.EXISTS_WITH_DIFFERENT_CONTENT),
        (HOLD, AddPrice(replace(PRICE, basis="{}")), Result.EXISTS_WITH_DIFFERENT_CONTENT),
        (SAMPLE, SAMPLE, Result.EXISTS),
        (
            SetBudget(scope="org:org", period=Period.DAY, limit_nano=9_000),
            SetBudget(scope="org:org", period=Period.DAY, limit_nano=9_000),
            Result.CHANGED,
        ),
        (HOLD, DropBudget("org:org", Period.DAY), Result.NO_SUCH_BUDGET),
    ],
)
def test_what_has_taken_effect_answers_so(store: Store, clock: Clock, first: Command, then: Command, result: Result):
    """P6: a command that comes again, or too late, has its own answer and changes nothing."""
    store.apply([HOLD, first])
    before = everything(store)
    clock.ms += 1_000
    assert results(store, then) == [result]
    assert everything(store) == before


def test_a_sweep_voids_what_nobody_settled(store: Store, clock: Clock):
    """A hold lives until its time is over by the store's clock; a post that comes later charges nothing."""
    store.apply([HOLD])  # at 1,000 for 60,000
    clock.ms = 60_999
    assert store.sweep() == 0
    clock.ms = 61_000
    assert store.sweep() == 1
    assert store.sweep() == 0
    generation = store.generation("r1")
    assert generation
    assert (generation.state, generation.why, generation.closed_at_ms) == ("void", "expired", 61_000)
    assert results(store, POST) == [Result.ALREADY_VOID]
    assert balance(store, "credit:org") == (-CREDIT_NANO, 0)


def test_an_end_that_comes_too_late_still_says_what_it_used(store: Store, clock: Clock):
    """The replica did work for it, which the second witness has counted."""
    store.apply([HOLD])
    clock.ms = 61_000
    store.sweep()
    store.apply([POST, POST])
    (stay,) = store.stays(0, YEAR)
    assert (stay.output_tokens, stay.charged_nano) == (150, None)
    assert store.verify() == []


# --- Retries without a key


def test_a_retry_goes_on_with_the_hold_of_the_first_try(store: Store, clock: Clock):
    """One reservation, with the retry's own deadline; the end of the first try is refused, that of the retry charged."""
    store.apply([HOLD])
    clock.ms = 31_000
    assert answer(store, RETRY) == Reply(Result.TAKEN_OVER, request_id="r1", attempt=2)
    assert store.snapshot().reserved_nano == 4_000
    clock.ms = 90_999  # 31,000 + 60,000 - 1
    assert store.sweep() == 0
    refused = [Result.NOT_THE_CURRENT_ATTEMPT] * 3
    assert results(store, POST, replace(VOID, attempt=1), FirstByte("r1", 1)) == refused
    assert results(store, replace(POST, attempt=2)) == [Result.POSTED]
    # And so it stays when the retry has ended: the first answer must not leave.
    assert results(store, POST, replace(VOID, attempt=1), FirstByte("r1", 1)) == refused
    generation = store.generation("r1")
    assert generation
    assert generation.gateway_id == "gw_2"
    assert [(tried.attempt, tried.charged) for tried in generation.attempts] == [(1, False), (2, True)]
    assert store.verify() == []


def test_the_holds_that_a_retry_goes_on_with_are_told(store: Store):
    """As long as they are open: so a gateway ends what it runs for the try before."""
    store.apply([HOLD, RETRY, replace(HOLD, request_id="r3", body_sha="other")])
    assert store.takeovers() == [("r1", 2)]
    store.apply([replace(VOID, attempt=2)])
    assert store.takeovers() == []


def test_a_retry_that_is_sent_again_takes_nothing_over_again(store: Store):
    """Its answer may have been lost on the way to the gateway."""
    store.apply([HOLD, RETRY])
    assert answer(store, RETRY) == Reply(Result.TAKEN_OVER, request_id="r1", attempt=2)
    assert results(store, replace(POST, attempt=2), RETRY) == [Result.POSTED, Result.TAKEN_OVER]


def test_a_hold_that_was_taken_over_and_is_sent_again_is_still_the_first_attempt(store: Store):
    """Else two gateways would believe that the answer is theirs."""
    store.apply([HOLD, RETRY])
    assert answer(store, HOLD) == Reply(Result.EXISTS, request_id="r1", attempt=1)


def test_a_hold_has_three_attempts_at_most(store: Store):
    """The next retry is a request of its own."""
    store.apply([HOLD])
    replies = [answer(store, replace(RETRY, request_id=f"r{number}")) for number in (2, 3, 4)]
    assert replies == [
        Reply(Result.TAKEN_OVER, request_id="r1", attempt=2),
        Reply(Result.TAKEN_OVER, request_id="r1", attempt=3),
        Reply(Result.CREATED, request_id="r4"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"is_retry": False},
        {"body_sha": "other"},
        {"key_id": "key_2"},
        {"amount_nano": 3_999},
        {"model": "n"},
        {"price_version": 2},
        {"idempotency_key": "order 7"},
    ],
)
def test_only_the_same_request_of_the_same_key_is_taken_over(store: Store, change: dict[str, Any]):
    """Anything else is a request of its own."""
    store.apply([AddPrice(replace(PRICE, model="n")), AddPrice(replace(PRICE, version=2)), HOLD])
    assert answer(store, replace(RETRY, **change)) == Reply(Result.CREATED, request_id="r2")


@pytest.mark.parametrize("end", [FirstByte("r1", 1), POST, VOID])
def test_nothing_is_taken_over_after_its_first_byte_or_its_end(store: Store, end: Command):
    """What was sent cannot be taken back."""
    store.apply([HOLD, end])
    assert answer(store, RETRY) == Reply(Result.CREATED, request_id="r2")


@pytest.mark.parametrize(("after_ms", "result"), [(599_999, Result.TAKEN_OVER), (600_000, Result.CREATED)])
def test_a_hold_is_taken_over_within_ten_minutes(store: Store, clock: Clock, after_ms: int, result: Result):
    """An older one is left to its deadline."""
    store.apply([replace(HOLD, expires_in_ms=3_600_000)])
    clock.ms += after_ms
    assert results(store, RETRY) == [result]


# --- Idempotency keys


def test_a_finished_request_is_replayed(store: Store, clock: Clock):
    """For 24 hours; then the key is new."""
    store.apply([NAMED, replace(POST, response='{"id": "r1"}')])
    again = replace(NAMED, request_id="r2")
    clock.ms += 86_399_999
    assert answer(store, again) == Reply(Result.REPLAYED, request_id="r1", response='{"id": "r1"}')
    assert store.snapshot().reserved_nano == 0
    clock.ms += 1
    assert answer(store, again) == Reply(Result.CREATED, request_id="r2")
    store.apply([replace(POST, request_id="r2", response='{"id": "r2"}')])
    assert answer(store, replace(NAMED, request_id="r3")) == Reply(
        Result.REPLAYED, request_id="r2", response='{"id": "r2"}'
    )


def test_a_sweep_forgets_what_has_expired(store: Store, clock: Clock):
    """Then too the key is new, and what was charged stays."""
    store.apply([NAMED, POST])
    clock.ms += 86_400_000
    store.sweep()
    assert results(store, replace(NAMED, request_id="r2", body_sha="other")) == [Result.CREATED]
    assert store.verify() == []


def test_an_answer_that_was_not_kept_is_replayed_by_its_id(store: Store):
    """The gateway makes what it can of the hold."""
    store.apply([NAMED, POST])
    assert answer(store, replace(NAMED, request_id="r2")) == Reply(Result.REPLAYED, request_id="r1")


def test_a_part_of_an_answer_is_not_replayed(store: Store):
    """Its client left, and has paid for it: the next request with the key runs, and its whole answer is the key's."""
    left = replace(POST, outcome=Outcome.CLIENT_LEFT, charged_nano=1_000, response='{"part": 1}')
    store.apply([NAMED, left])
    again = replace(NAMED, request_id="r2")
    assert answer(store, replace(again, body_sha="other")) == Reply(Result.IDEMPOTENCY_KEY_REUSED)
    assert answer(store, again) == Reply(Result.CREATED, request_id="r2")
    store.apply([replace(POST, request_id="r2", response="{}")])
    assert answer(store, replace(NAMED, request_id="r3")) == Reply(Result.REPLAYED, request_id="r2", response="{}")
    assert balance(store, "credit:org") == (1_000 + 3_000 - CREDIT_NANO, 0)


def test_a_request_that_is_still_running_is_not_started_twice(store: Store):
    """Nor after its first byte, when a retry cannot take it over either."""
    store.apply([NAMED])
    waits = Reply(Result.IN_PROGRESS, request_id="r1", retry_after_ms=1_000)
    assert answer(store, replace(NAMED, request_id="r2")) == waits
    store.apply([FirstByte("r1", 1)])
    assert answer(store, replace(NAMED, request_id="r2", is_retry=True)) == waits


def test_a_retry_with_the_same_idempotency_key_takes_over(store: Store):
    """And the answer is kept under that key."""
    store.apply([NAMED])
    assert answer(store, replace(RETRY, idempotency_key="order 7")) == Reply(
        Result.TAKEN_OVER, request_id="r1", attempt=2
    )
    store.apply([replace(POST, attempt=2, response="{}")])
    assert answer(store, replace(NAMED, request_id="r3")) == Reply(Result.REPLAYED, request_id="r1", response="{}")


@pytest.mark.parametrize("end", [(), (POST,)])
def test_an_idempotency_key_is_for_one_body(store: Store, end: tuple[Command, ...]):
    """Another body is refused, whether the first is still running or not."""
    store.apply([NAMED, *end])
    other = replace(NAMED, request_id="r2", body_sha="other")
    assert answer(store, other) == Reply(Result.IDEMPOTENCY_KEY_REUSED)


def test_each_api_key_has_its_own_idempotency_keys(store: Store):
    """Nobody meets another's."""
    assert results(store, NAMED, replace(NAMED, request_id="r2", key_id="key_2")) == [Result.CREATED, Result.CREATED]


def test_the_key_of_a_voided_request_may_be_used_again(store: Store):
    """It came to nothing: even another body is welcome."""
    store.apply([NAMED, VOID])
    assert answer(store, replace(NAMED, request_id="r2", body_sha="other")) == Reply(Result.CREATED, request_id="r2")
    assert answer(store, replace(NAMED, request_id="r3")) == Reply(Result.IDEMPOTENCY_KEY_REUSED)


# --- Budgets


@pytest.mark.parametrize("scope", ["key:key_1", "project:org/project", "org:org"])
@pytest.mark.parametrize("period", Period)
def test_a_budget_bounds_its_scope(store: Store, scope: str, period: Period):
    """To the last nano-dollar, charges and holds together."""
    store.apply([AddKey(KEY), SetBudget(scope=scope, period=period, limit_nano=7_000), HOLD, POST])
    full = replace(HOLD, request_id="r2", amount_nano=4_001)
    (state,) = store.budgets()
    assert (state.posted_nano, state.reserved_nano, state.remaining_nano) == (3_000, 0, 4_000)
    assert answer(store, full) == Reply(Result.NO_ROOM, blocked_by=state.account)
    assert results(store, replace(full, amount_nano=4_000)) == [Result.CREATED]


def test_projects_of_one_name_have_budgets_of_their_own(store: Store):
    """Each organisation's is its own, however it is called."""
    store.apply(
        [
            Grant(ref="g", account="credit:rival", amount_nano=10_000),
            SetBudget(scope="project:org/project", period=Period.DAY, limit_nano=5_000),
        ]
    )
    rival = replace(HOLD, request_id="r2", org_id="rival")
    assert results(store, rival, replace(rival, request_id="r3"), HOLD) == [Result.CREATED] * 3


@pytest.mark.parametrize("scope", ["project:project", "project:/project", "project:org/"])
def test_a_projects_budget_says_of_which_organisation(store: Store, scope: str):
    assert results(store, SetBudget(scope=scope, period=Period.DAY, limit_nano=5_000)) == [Result.INVALID]


@pytest.mark.parametrize("change", [{"key_id": "key_2"}, {"key_id": "key_1", "root_key_id": "key_0"}])
def test_a_budget_leaves_others_alone(store: Store, change: dict[str, Any]):
    """Another key of the same organisation has all of its credit."""
    store.apply([AddKey(KEY), SetBudget(scope="key:key_1", period=Period.DAY, limit_nano=1)])
    assert results(store, replace(HOLD, **change)) == [Result.CREATED]


def test_a_rotated_key_pays_from_the_budget_of_its_root(store: Store):
    """Else a rotation would be a way to spend twice."""
    store.apply([AddKey(KEY), SetBudget(scope="key:key_1", period=Period.DAY, limit_nano=5_000), HOLD, POST])
    rotated = replace(HOLD, request_id="r2", key_id="key_2", root_key_id="key_1")
    assert answer(store, rotated) == Reply(Result.NO_ROOM, blocked_by="bud:key:key_1:1970-01-01")


def test_every_budget_that_applies_is_charged(store: Store):
    """Credit pays once; each budget counts it, and one contra account balances them."""
    store.apply(
        [
            SetBudget(scope="project:org/project", period=Period.DAY, limit_nano=5_000),
            SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=6_000),
        ]
    )
    store.apply([HOLD, POST])
    assert [(entry.account, entry.amount_nano) for entry in store.entries(0, 100) if entry.ref == "r1"] == [
        ("credit:org", 3_000),
        ("revenue", -3_000),
        ("bud:org:org:lifetime", 3_000),
        ("bud:project:org/project:1970-01-01", 3_000),
        ("contra:budget", -6_000),
    ]


@pytest.mark.parametrize(
    ("period", "this", "next_"),
    [
        (Period.DAY, "bud:org:org:2026-11-30", "bud:org:org:2026-12-01"),
        (Period.MONTH, "bud:org:org:2026-11", "bud:org:org:2026-12"),
    ],
)
def test_the_period_of_the_admission_pays(store: Store, clock: Clock, period: Period, this: str, next_: str):
    """P13: a hold of 23:59:59.999 that is posted after midnight is charged to the day before; the new period is empty."""
    clock.ms = LAST_MS
    store.apply([SetBudget(scope="org:org", period=period, limit_nano=4_000), HOLD])
    clock.ms = LAST_MS + 1
    (state,) = store.budgets()
    assert (state.account, state.posted_nano, state.reserved_nano, state.limit_nano) == (next_, 0, 0, 4_000)
    assert results(store, replace(HOLD, request_id="r2"), POST) == [Result.CREATED, Result.POSTED]
    assert (balance(store, this), balance(store, next_)) == ((3_000, 0), (0, 4_000))
    day = UsageQuery(width=Width.DAY, from_ms=at("2026-11-30T00:00"), to_ms=at("2026-12-02T00:00"))
    assert [(bucket.start_ms, bucket.revenue_nano) for bucket in store.usage(day)] == [(at("2026-11-30T00:00"), 3_000)]


def test_a_lifetime_budget_is_never_full_of_room_again(store: Store, clock: Clock):
    """It has one account for ever."""
    store.apply([SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=4_000), HOLD, POST])
    clock.ms = LAST_MS
    assert answer(store, replace(HOLD, request_id="r2")).blocked_by == "bud:org:org:lifetime"


def test_a_lowered_limit_is_reached_as_holds_end(store: Store):
    """It cannot be below what is posted and reserved, and follows that down; there is never room in between."""
    two = [replace(HOLD, request_id=name) for name in ("r1", "r2")]
    store.apply([SetBudget(scope="org:org", period=Period.DAY, limit_nano=9_000), *two])
    limits = []
    for command in (
        SetBudget(scope="org:org", period=Period.DAY, limit_nano=3_500),
        POST,
        replace(VOID, request_id="r2"),
    ):
        store.apply([command])
        (state,) = store.budgets()
        assert state.budget.limit_nano == 3_500
        limits.append((state.limit_nano, state.remaining_nano))
    assert limits == [
        (8_000, 0),  # 4,000 + 4,000 reserved
        (7_000, 0),  # 3,000 posted + 4,000 reserved
        (3_500, 500),  # 3,000 posted
    ]
    assert store.verify() == []


def test_a_lowered_limit_is_reached_by_expiry_and_refund_too(store: Store, clock: Clock):
    """Whatever makes room gives it to nobody."""
    store.apply(
        [
            SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=9_000),
            HOLD,
            POST,
            replace(HOLD, request_id="r2"),
        ]
    )
    store.apply([SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=1_000)])
    clock.ms += 60_000
    store.sweep()
    assert store.budgets()[0].limit_nano == 3_000
    store.apply([Refund(ref="back", request_id="r1", amount_nano=2_500, reason="blurred")])
    assert (store.budgets()[0].limit_nano, store.budgets()[0].posted_nano) == (1_000, 500)


def test_a_raised_limit_takes_effect_at_once(store: Store):
    """In the period that runs."""
    full = replace(HOLD, request_id="r2")
    store.apply([SetBudget(scope="org:org", period=Period.DAY, limit_nano=4_000), HOLD])
    assert results(store, full, SetBudget(scope="org:org", period=Period.DAY, limit_nano=8_000), full) == [
        Result.NO_ROOM,
        Result.CHANGED,
        Result.CREATED,
    ]


def test_an_alert_is_raised_once(store: Store, clock: Clock):
    """When the charges reach it; it stops nothing, and a new budget may be alerted again."""
    budget = SetBudget(scope="org:org", period=Period.DAY, limit_nano=10_000, alert_nano=3_000)
    store.apply([budget, HOLD, replace(POST, charged_nano=2_999)])
    assert store.budgets()[0].alerted_at_ms is None
    for name in ("r2", "r3"):
        clock.ms += 500
        store.apply([replace(HOLD, request_id=name, amount_nano=1), replace(POST, request_id=name, charged_nano=1)])
        assert store.budgets()[0].alerted_at_ms == 1_500
    store.apply([replace(budget, alert_nano=9_000)])
    assert store.budgets()[0].alerted_at_ms is None


def test_a_dropped_budget_bounds_nothing(store: Store):
    """What it counted stays; a hold that was made under it still ends well."""
    store.apply([SetBudget(scope="org:org", period=Period.DAY, limit_nano=4_000), HOLD])
    assert results(store, DropBudget("org:org", Period.DAY), replace(HOLD, request_id="r2"), POST) == [
        Result.CHANGED,
        Result.CREATED,
        Result.POSTED,
    ]
    assert store.budgets() == []
    assert balance(store, "bud:org:org:1970-01-01") == (3_000, 0)


def test_a_budget_with_nothing_asked_yet_is_all_room(store: Store):
    """Also in a period that has no account."""
    store.apply([SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=4_000, alert_nano=1_000)])
    budget = Budget(scope="org:org", period=Period.LIFETIME, limit_nano=4_000, alert_nano=1_000)
    assert store.budgets() == [
        BudgetState(
            budget=budget,
            account="bud:org:org:lifetime",
            limit_nano=4_000,
            posted_nano=0,
            reserved_nano=0,
            alerted_at_ms=None,
        )
    ]


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (SetBudget(scope="key:key_9", period=Period.DAY, limit_nano=1), Result.NO_SUCH_KEY),
        (SetBudget(scope="key:key_2", period=Period.DAY, limit_nano=1), Result.NO_SUCH_KEY),  # rotated: key_1 pays
        (SetBudget(scope="key:key_1", period=Period.DAY, limit_nano=1), Result.CREATED),
        (SetBudget(scope="team:red", period=Period.DAY, limit_nano=1), Result.INVALID),
        (SetBudget(scope="org:", period=Period.DAY, limit_nano=1), Result.INVALID),
        (SetBudget(scope="org:org", period=Period.DAY, limit_nano=0), Result.INVALID),
        (SetBudget(scope="org:org", period=Period.DAY, limit_nano=-1), Result.INVALID),
        (SetBudget(scope="org:org", period=Period.DAY, limit_nano=1, alert_nano=0), Result.INVALID),
        (DropBudget("team:red", Period.DAY), Result.NO_SUCH_BUDGET),
    ],
)
def test_a_budget_is_for_who_exists_and_for_some_amount(store: Store, command: Command, result: Result):
    """A budget that could never bound anything is a mistake that has a name."""
    successor = replace(KEY, id="key_2", sha256="2" * 64, root_id="key_1")
    store.apply([AddKey(KEY), RotateKey(key_id="key_1", successor=successor, grace_ms=0)])
    before = everything(store)
    assert results(store, command) == [result]
    assert (everything(store) == before) is (result is not Result.CREATED)


# --- Rate limits

LIMITED = replace(HOLD, amount_nano=0, tokens_max=400)


@pytest.mark.parametrize(
    ("limits", "fit", "name"),
    [
        (RateLimits(requests_per_minute=3), 3, "requests_per_minute"),
        (RateLimits(images_per_minute=5), 2, "images_per_minute"),  # 2 images each
        (RateLimits(tokens_per_minute=1_200), 3, "tokens_per_minute"),  # 400 each
        (RateLimits(tokens_per_minute=1_199), 2, "tokens_per_minute"),
        (
            RateLimits(requests_per_minute=1, images_per_minute=1, tokens_per_minute=100, concurrency=1),
            0,
            "images_per_minute",
        ),
    ],
)
def test_a_limit_holds_for_a_minute(store: Store, clock: Clock, limits: RateLimits, fit: int, name: str):
    """By the store's clock; then all of it is back."""
    clock.ms = 60_000 + 15_000
    holds = [replace(LIMITED, request_id=f"r{number}", limits=limits) for number in range(fit + 1)]
    assert results(store, *holds) == [*[Result.CREATED] * fit, Result.RATE_LIMITED]
    assert answer(store, holds[fit]) == Reply(Result.RATE_LIMITED, blocked_by=name, retry_after_ms=45_000)
    clock.ms = 119_999
    assert results(store, holds[fit]) == [Result.RATE_LIMITED]
    clock.ms = 120_000
    assert results(store, holds[fit]) == [Result.CREATED if fit else Result.RATE_LIMITED]


def test_a_hold_says_what_is_left_of_each_limit(store: Store, clock: Clock):
    """And when all of it is back."""
    clock.ms = 75_000
    limits = RateLimits(requests_per_minute=10, images_per_minute=20, tokens_per_minute=1_000, concurrency=5)
    assert answer(store, replace(LIMITED, limits=limits)).limits == (
        LimitState(name="requests_per_minute", limit=10, remaining=9, reset_ms=45_000),
        LimitState(name="images_per_minute", limit=20, remaining=18, reset_ms=45_000),
        LimitState(name="tokens_per_minute", limit=1_000, remaining=600, reset_ms=45_000),
        LimitState(name="concurrency", limit=5, remaining=4, reset_ms=1_000),
    )


@pytest.mark.parametrize("end", [POST, VOID])
def test_tokens_that_were_not_used_are_given_back(store: Store, clock: Clock, end: Post | Void):
    """In the minute of the admission: 400 taken, 30 used."""
    limits = RateLimits(requests_per_minute=10, tokens_per_minute=1_000)
    used = replace(TRIED, text_tokens=10, vision_tokens=15, output_tokens=5)
    ended = replace(end, record=used) if isinstance(end, Void) else replace(end, record=used, charged_nano=0)
    store.apply([replace(LIMITED, limits=limits), ended])
    reply = answer(store, replace(LIMITED, request_id="r2", limits=limits))
    assert [state.remaining for state in reply.limits] == [8, 570]  # 10 - 2; 1,000 - 30 - 400


def test_what_is_given_back_is_of_the_minute_that_gave_it(store: Store, clock: Clock):
    """A late end makes no room that was never taken."""
    limits = RateLimits(tokens_per_minute=1_000)
    store.apply([replace(LIMITED, limits=limits)])
    clock.ms += 60_000
    store.apply([replace(VOID, record=replace(TRIED, text_tokens=0, vision_tokens=0, output_tokens=0))])
    reply = answer(store, replace(LIMITED, request_id="r2", limits=limits))
    assert [state.remaining for state in reply.limits] == [600]


def test_more_tokens_than_thought_take_no_more(store: Store):
    """The bound is taken once, at the admission."""
    limits = RateLimits(tokens_per_minute=1_000)
    store.apply([replace(LIMITED, limits=limits), replace(VOID, record=replace(TRIED, text_tokens=9_000))])
    assert answer(store, replace(LIMITED, request_id="r2", limits=limits)).limits[0].remaining == 200


@pytest.mark.parametrize("end", ["post", "void", "expiry"])
def test_concurrency_counts_open_holds(store: Store, clock: Clock, end: str):
    """Each of its ends makes room for the next, in any minute."""
    limits = RateLimits(concurrency=2)
    holds = [replace(LIMITED, request_id=f"r{number}", limits=limits) for number in (1, 2, 3)]
    store.apply(holds[:2])
    clock.ms += 60_000 - 1
    busy = Reply(Result.RATE_LIMITED, blocked_by="concurrency", retry_after_ms=1_000)
    assert answer(store, holds[2]) == busy
    match end:
        case "post":
            store.apply([replace(POST, charged_nano=0)])
        case "void":
            store.apply([VOID])
        case "expiry":
            clock.ms += 1
            store.sweep()
    assert results(store, holds[2]) == [Result.CREATED]


def test_a_take_over_is_one_more_request_with_its_images(store: Store, clock: Clock):
    """The engine works again; tokens and concurrency are the hold's."""
    limits = RateLimits(requests_per_minute=3, images_per_minute=4, tokens_per_minute=3_000, concurrency=1)
    store.apply([replace(HOLD, limits=limits)])
    retries = [replace(RETRY, request_id=name, limits=limits) for name in ("r2", "r3")]
    assert results(store, *retries) == [Result.TAKEN_OVER, Result.RATE_LIMITED]
    clock.ms += 60_000
    assert answer(store, retries[1]) == Reply(Result.TAKEN_OVER, request_id="r1", attempt=3)


def test_a_take_over_above_the_limit_leaves_the_hold_to_the_first_try(store: Store):
    """It is not the retry's, so it is not lost."""
    limits = RateLimits(requests_per_minute=1)
    store.apply([replace(HOLD, limits=limits)])
    refused = Reply(Result.RATE_LIMITED, blocked_by="requests_per_minute", retry_after_ms=59_000)
    assert answer(store, replace(RETRY, limits=limits)) == refused
    assert results(store, POST) == [Result.POSTED]


def test_a_rotated_key_shares_the_limits_of_its_root(store: Store):
    """And nobody else does."""
    limits = RateLimits(requests_per_minute=1)
    first = replace(LIMITED, limits=limits)
    rotated = replace(first, request_id="r2", key_id="key_2", root_key_id="key_1")
    other = replace(first, request_id="r3", key_id="key_3")
    assert results(store, first, rotated, other) == [Result.CREATED, Result.RATE_LIMITED, Result.CREATED]


def test_a_changed_limit_counts_at_once(store: Store):
    """The limits are those of the key at this hold; what was taken in this minute stays taken."""
    holds = [replace(LIMITED, request_id=f"r{n}", limits=RateLimits(requests_per_minute=n)) for n in (1, 2)]
    strict = replace(LIMITED, request_id="r3", limits=RateLimits(requests_per_minute=2))
    assert results(store, *holds, strict) == [Result.CREATED, Result.CREATED, Result.RATE_LIMITED]


# --- Credit and refunds


def test_a_grant_gives_credit(store: Store):
    """It makes its account if there is none, and its other side is a contra account."""
    assert results(store, Grant(ref="gift", account="credit:new", amount_nano=500)) == [Result.CREATED]
    assert [(entry.account, entry.amount_nano) for entry in store.entries(0, 100) if entry.ref == "gift"] == [
        ("credit:new", -500),
        ("contra:grant", 500),
    ]
    assert (
        Balance(account="credit:new", kind="credit", limit_nano=0, posted_nano=-500, reserved_nano=0)
        in store.balances()
    )


@pytest.mark.parametrize("amount_nano", [0, -1, 2**63])
def test_a_grant_of_nothing_is_none(store: Store, amount_nano: int):
    """Credit is not taken away by giving less than nothing, and amounts have 64 bits."""
    before = everything(store)
    assert results(store, Grant(ref="gift", account="credit:new", amount_nano=amount_nano)) == [Result.INVALID]
    assert everything(store) == before


def test_a_refund_goes_to_every_account_that_paid(store: Store):
    """Revenue and the contra account give it."""
    store.apply([SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=9_000), HOLD, POST])
    assert answer(store, Refund(ref="back", request_id="r1", amount_nano=1_000, reason="blurred")) == Reply(
        Result.CREATED, request_id="r1"
    )
    assert [
        (entry.kind, entry.account, entry.amount_nano) for entry in store.entries(0, 100) if entry.ref == "back"
    ] == [
        ("refund", "credit:org", -1_000),
        ("refund", "revenue", 1_000),
        ("refund", "bud:org:org:lifetime", -1_000),
        ("refund", "contra:budget", 1_000),
    ]
    assert (balance(store, "credit:org"), balance(store, "bud:org:org:lifetime")) == ((-8_000, 0), (2_000, 0))
    assert store.verify() == []


@pytest.mark.parametrize(
    ("refund", "result"),
    [
        (Refund(ref="one", request_id="r1", amount_nano=1_000, reason="blurred"), Result.EXISTS),
        (Refund(ref="one", request_id="r1", amount_nano=999, reason="blurred"), Result.EXISTS_WITH_DIFFERENT_CONTENT),
        (Refund(ref="one", request_id="r2", amount_nano=1_000, reason="blurred"), Result.EXISTS_WITH_DIFFERENT_CONTENT),
        (
            Refund(ref="two", request_id="r1", amount_nano=2_000, reason="blurred"),
            Result.CREATED,
        ),  # 1,000 + 2,000 = 3,000 charged
        (Refund(ref="two", request_id="r1", amount_nano=2_001, reason="blurred"), Result.ABOVE_THE_HOLD),
        (Refund(ref="two", request_id="r1", amount_nano=0, reason="blurred"), Result.INVALID),
        (Refund(ref="two", request_id="r1", amount_nano=-5, reason="blurred"), Result.INVALID),
        (Refund(ref="two", request_id="r2", amount_nano=1, reason="blurred"), Result.NO_SUCH_HOLD),  # open
        (Refund(ref="two", request_id="r3", amount_nano=1, reason="blurred"), Result.NO_SUCH_HOLD),  # void
        (Refund(ref="two", request_id="r4", amount_nano=1, reason="blurred"), Result.NO_SUCH_HOLD),
    ],
)
def test_no_more_is_given_back_than_was_charged(store: Store, refund: Refund, result: Result):
    """And each refund once."""
    r2, r3 = (replace(HOLD, request_id=name, amount_nano=1_000) for name in ("r2", "r3"))
    store.apply(
        [
            HOLD,
            POST,
            r2,
            r3,
            replace(VOID, request_id="r3"),
            Refund(ref="one", request_id="r1", amount_nano=1_000, reason="blurred"),
        ]
    )
    before = everything(store)
    assert results(store, refund) == [result]
    assert (everything(store) == before) is (result is not Result.CREATED)
    assert store.verify() == []


# --- Keys


def test_keys_are_kept_as_they_are(store: Store, clock: Clock):
    """A key's record comes back equal, with the time it was made; oldest first."""
    key = replace(
        KEY,
        models=("m", "n"),
        limits=RateLimits(requests_per_minute=5, images_per_minute=None, tokens_per_minute=1_000, concurrency=2),
    )
    store.apply([AddKey(key)])
    clock.ms = 2_000
    store.apply([AddKey(replace(KEY, id="key_0", sha256="1" * 64))])
    assert store.keys() == [
        replace(key, created_at_ms=1_000),
        replace(KEY, id="key_0", sha256="1" * 64, created_at_ms=2_000),
    ]


def test_a_key_comes_with_credit(store: Store):
    """Once: the key exists, or key and credit come together."""
    assert results(store, AddKey(KEY, credit_nano=500)) == [Result.CREATED]
    assert balance(store, "credit:org") == (-10_500, 0)
    assert results(store, AddKey(KEY, credit_nano=500)) == [Result.EXISTS]
    assert balance(store, "credit:org") == (-10_500, 0)


def test_a_key_with_less_than_no_credit_is_not_stored(store: Store):
    """All or nothing."""
    before = everything(store)
    assert results(store, AddKey(KEY, credit_nano=-500)) == [Result.INVALID]
    assert everything(store) == before


def test_a_key_is_changed_but_stays_who_it_is(store: Store):
    """Name, scopes, models, limits, expiry and revocation; not its secret, organisation or project."""
    store.apply([AddKey(KEY)])
    wanted = replace(
        KEY,
        sha256="9" * 64,
        org_id="other",
        project_id="other",
        name="desktop",
        scopes=("manage",),
        models=("n",),
        limits=RateLimits(concurrency=1),
        expires_at_ms=None,
        revoked_at_ms=5,
    )
    assert results(store, ChangeKey(wanted), ChangeKey(replace(KEY, id="key_9"))) == [
        Result.CHANGED,
        Result.NO_SUCH_KEY,
    ]
    stays = {"sha256": KEY.sha256, "org_id": "org", "project_id": "project", "created_at_ms": 1_000}
    assert store.keys() == [replace(wanted, **stays)]


def test_a_revocation_is_for_good(store: Store):
    """A change that was begun before it does not undo it."""
    results(store, AddKey(KEY), ChangeKey(replace(KEY, revoked_at_ms=5)), ChangeKey(replace(KEY, name="desktop")))
    (kept,) = store.keys()
    assert (kept.name, kept.revoked_at_ms) == ("desktop", 5)


SUCCESSOR = replace(KEY, id="key_2", sha256="2" * 64, root_id="key_1")


@pytest.mark.parametrize(
    ("expires_at_ms", "grace_ms", "ends_at_ms"),
    [(None, 5_000, 6_000), (3_000, 5_000, 3_000), (900_000, 5_000, 6_000), (900_000, 0, 1_000)],
)
def test_a_rotated_key_works_for_its_grace(store: Store, expires_at_ms: int | None, grace_ms: int, ends_at_ms: int):
    """Or until it expires anyway, if that is earlier."""
    key = replace(KEY, expires_at_ms=expires_at_ms)
    assert results(store, AddKey(key), RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=grace_ms)) == [
        Result.CREATED,
        Result.CREATED,
    ]
    assert store.keys() == [
        replace(key, expires_at_ms=ends_at_ms, rotated_to="key_2", created_at_ms=1_000),
        replace(SUCCESSOR, created_at_ms=1_000),
    ]


def changes(store: Store, after: Place = ()) -> list[tuple[int, str, str]]:
    """Number, id and name of each key that has changed since."""
    return [(change.seq, change.record.id, change.record.name) for change in store.key_changes(after)]


def test_a_gateway_is_told_which_keys_have_changed(store: Store):
    """Each once, as it is now, in the order of their last changes; what changes nothing is no change."""
    renamed = ChangeKey(replace(KEY, name="desktop"))
    store.apply([AddKey(KEY), AddKey(replace(KEY, id="key_9", sha256="9" * 64))])
    assert changes(store) == [(1, "key_1", "laptop"), (2, "key_9", "laptop")]
    store.apply([renamed, AddKey(KEY), renamed])
    assert changes(store) == [(2, "key_9", "laptop"), (3, "key_1", "desktop")]
    assert changes(store, after=(2,)) == [(3, "key_1", "desktop")]
    assert changes(store, after=(3,)) == []


def test_a_rotation_changes_two_keys(store: Store):
    """The old one ends, the new one begins."""
    store.apply([AddKey(KEY), RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=0)])
    assert changes(store, after=(1,)) == [(2, "key_1", "laptop"), (3, "key_2", "laptop")]


@pytest.mark.parametrize(
    ("made", "rotation", "result"),
    [
        (
            (RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=0),),
            RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=0),
            Result.EXISTS,
        ),
        (
            (RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=9_000),),
            RotateKey(key_id="key_1", successor=replace(SUCCESSOR, id="key_3", sha256="3" * 64), grace_ms=9_000),
            Result.NO_SUCH_KEY,
        ),
        (
            (ChangeKey(replace(KEY, revoked_at_ms=500)),),
            RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=0),
            Result.NO_SUCH_KEY,
        ),
        (
            (ChangeKey(replace(KEY, expires_at_ms=1_000)),),
            RotateKey(key_id="key_1", successor=SUCCESSOR, grace_ms=0),
            Result.NO_SUCH_KEY,
        ),
        ((), RotateKey(key_id="key_9", successor=SUCCESSOR, grace_ms=0), Result.NO_SUCH_KEY),
        (
            (),
            RotateKey(key_id="key_1", successor=replace(SUCCESSOR, sha256=KEY.sha256), grace_ms=0),
            Result.EXISTS_WITH_DIFFERENT_CONTENT,
        ),
        (
            (),
            RotateKey(key_id="key_1", successor=replace(SUCCESSOR, id="key_1"), grace_ms=0),
            Result.EXISTS_WITH_DIFFERENT_CONTENT,
        ),
    ],
)
def test_a_key_is_rotated_once_and_while_it_works(
    store: Store, made: tuple[Command, ...], rotation: RotateKey, result: Result
):
    """A refused rotation leaves the old key as it was."""
    store.apply([AddKey(KEY), *made])
    before = everything(store)
    assert results(store, rotation) == [result]
    assert everything(store) == before


def test_what_an_administrator_does_is_written_down(store: Store, clock: Clock):
    """Who, what and when; never a hash. A refusal is no deed."""
    clock.ms = 5_000
    refused = SetBudget(scope="org:org", period=Period.DAY, limit_nano=0, by="key_admin")
    store.apply(
        [
            AddKey(KEY, by="key_admin"),
            refused,
            SetBudget(scope="org:org", period=Period.DAY, limit_nano=9, by="key_admin"),
        ]
    )
    lines = store.audit(5_000, 5_001)
    assert [(line.actor, line.action, line.at_ms) for line in lines] == [
        ("key_admin", "add_key", 5_000),
        ("key_admin", "set_budget", 5_000),
    ]
    assert KEY.sha256 not in str(lines)


# --- Prices and samples


def test_a_price_version_pays_for_its_own_admissions(store: Store):
    """P14: a new price changes nothing in flight."""
    store.apply([HOLD, AddPrice(replace(PRICE, version=2, unit_nano=9_000)), POST])
    generation = store.generation("r1")
    assert generation
    assert (generation.price_version, generation.charged_nano) == (1, 3_000)


@pytest.mark.parametrize("change", [{"unit_nano": -1}, {"batch_unit_nano": -1}, {"unit_nano": 2**63}])
def test_a_price_below_zero_is_none(store: Store, change: dict[str, Any]):
    """Nor is one beyond 64 bits."""
    assert results(store, AddPrice(replace(PRICE, version=2, **change))) == [Result.INVALID]


def test_samples_are_kept_by_replica_epoch_and_time(store: Store):
    """And read by time; an engine without counters has none."""
    later = replace(SAMPLE, at_ms=2_000, prompt_tokens=None, output_tokens=None, in_flight=None, state="ended")
    assert results(store, later, SAMPLE, replace(SAMPLE, at_ms=3_000)) == [Result.CREATED] * 3
    assert store.samples(1_000, 3_000) == [SAMPLE, later]


@pytest.mark.parametrize("change", [{"rent_nano_per_hour": -1}, {"state": "asleep"}])
def test_a_sample_that_means_nothing_is_refused(store: Store, change: dict[str, Any]):
    """It would be charged to somebody."""
    assert results(store, replace(SAMPLE, **change)) == [Result.INVALID]
    assert store.samples(0, EVER) == []


# --- Questions


@pytest.fixture
def busy(store: Store, clock: Clock) -> Store:
    """Requests of two keys, projects, users and models: one in the first minute of an hour, three in its last."""
    store.apply([AddPrice(replace(PRICE, model="n"))])
    charges = [
        (0, {"key_id": "key_1", "user_id": "ann", "model": "m"}),
        (3_540_000, {"key_id": "key_1", "user_id": None, "model": "n"}),
        (3_540_001, {"key_id": "key_2", "user_id": "ann", "model": "m", "project_id": "other"}),
        (3_599_999, {"key_id": "key_1", "user_id": "bob", "model": "m", "tier": "batch"}),
    ]
    for number, (ms, change) in enumerate(charges):
        clock.ms = ms
        hold = replace(HOLD, request_id=f"u{number}", amount_nano=1_000, **change)
        store.apply([hold])
        clock.ms = ms + 59_000  # usage is by admission
        store.apply([replace(POST, request_id=hold.request_id, charged_nano=10**number)])
    store.apply([replace(HOLD, request_id="v"), replace(VOID, request_id="v"), replace(HOLD, request_id="open")])
    return store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=86_400_000), [(0, (), 1_111)]),
        (UsageQuery(width=Width.HOUR, from_ms=0, to_ms=3_600_000), [(0, (), 1_111)]),
        (UsageQuery(width=Width.HOUR, from_ms=3_600_000, to_ms=86_400_000), []),
        (UsageQuery(width=Width.MINUTE, from_ms=0, to_ms=3_600_000), [(0, (), 1), (3_540_000, (), 1_110)]),
        (UsageQuery(width=Width.MINUTE, from_ms=60_000, to_ms=3_540_000), []),
        (
            UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, group_by=("model",)),
            [(0, ("m",), 1_101), (0, ("n",), 10)],
        ),
        (
            UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, group_by=("user_id",)),
            [(0, ("",), 10), (0, ("ann",), 101), (0, ("bob",), 1_000)],
        ),
        (
            UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, group_by=("project_id", "key_id")),
            [(0, ("other", "key_2"), 100), (0, ("project", "key_1"), 1_011)],
        ),
        (
            UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, group_by=("tier", "org_id")),
            [(0, ("batch", "org"), 1_000), (0, ("default", "org"), 111)],
        ),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, models=("n",)), [(0, (), 10)]),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, models=("m", "n"), key_ids=("key_1",)), [(0, (), 1_011)]),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, project_ids=("other",)), [(0, (), 100)]),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, user_ids=("ann", "")), [(0, (), 111)]),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, key_ids=("key_9",)), []),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, org_ids=("org",)), [(0, (), 1_111)]),
        (UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, org_ids=("other",)), []),
    ],
)
def test_usage_is_by_time_group_and_filter(busy: Store, query: UsageQuery, expected: list[tuple[Any, ...]]):
    """P10: charged requests only, in the bucket of their admission."""
    assert [(bucket.start_ms, bucket.group, bucket.revenue_nano) for bucket in busy.usage(query)] == expected


LONG_ANSWERS: list[Listing[Any]] = [
    questions.KeyChanges(),
    questions.Budgets(),
    questions.Balances(),
    questions.Usage(UsageQuery(width=Width.MINUTE, from_ms=0, to_ms=YEAR)),
    questions.Usage(UsageQuery(width=Width.DAY, from_ms=0, to_ms=YEAR, group_by=("user_id", "model"))),
    questions.Samples(from_ms=0, to_ms=EVER),
    questions.Stays(from_ms=0, to_ms=EVER),
    questions.Audit(from_ms=0, to_ms=EVER),
]


def test_every_long_answer_is_tried():
    """None is forgotten here."""
    assert {type(listing) for listing in LONG_ANSWERS} == set(questions.LISTINGS)


@pytest.mark.parametrize("rows_max", [1, 2, 3])
@pytest.mark.parametrize("listing", LONG_ANSWERS)
def test_a_long_answer_can_be_read_in_pages(busy: Store, listing: Listing[Any], rows_max: int):
    """Each begins behind the place of the last row of the one before; together they are the answer."""
    busy.apply(
        [
            *(AddKey(replace(KEY, id=name, sha256=name)) for name in ("key_1", "key_2", "key_3")),
            *(
                SetBudget(scope=scope, period=period, limit_nano=9_000)
                for scope in ("org:org", "key:key_2")
                for period in Period
            ),
            *(replace(SAMPLE, at_ms=at_ms, epoch=epoch) for epoch in "ba" for at_ms in (2, 1)),
        ]
    )
    read: list[Any] = []
    while page := listing.page(busy, listing.place(read[-1]) if read else (), rows_max):
        assert len(page) <= rows_max
        read += page
    assert read == listing.page(busy, (), ALL)
    assert len(read) > 1


def test_an_attempt_that_held_a_slot_for_ever_is_in_no_period(store: Store):
    """A gateway's clock was put right meanwhile: what is told of it is nothing to count with."""
    held = replace(TRIED, slot_from_ms=1_000, slot_to_ms=1_000 + SLOT_MS_MAX)
    store.apply([HOLD, replace(POST, record=held)])
    assert store.stays(0, EVER) == []


def test_a_bucket_sums_what_was_measured(busy: Store):
    """Four requests of two images with four units each."""
    (bucket,) = busy.usage(UsageQuery(width=Width.DAY, from_ms=0, to_ms=86_400_000))
    assert bucket == Bucket(
        start_ms=0,
        group=(),
        requests=4,
        images=8,
        units=16,
        text_tokens=256,
        vision_tokens=9_568,
        cached_tokens=40,
        output_tokens=600,
        revenue_nano=1_111,
    )


def test_usage_is_grouped_by_what_it_has(store: Store):
    """Anything else is no column, whatever it says."""
    with pytest.raises(ValueError, match="usage is grouped by org_id, project_id, key_id, user_id, model, tier"):
        store.usage(UsageQuery(width=Width.DAY, from_ms=0, to_ms=1, group_by=("1; DROP TABLE hold",)))


def test_a_snapshot_sums_what_ended_and_what_is_open(store: Store, clock: Clock):
    """Totals are by model and outcome; an expired hold counts as a request without work."""
    held = [replace(HOLD, request_id=f"r{i}", amount_nano=1_000) for i in range(6)]
    store.apply([*held[:4], *(replace(POST, request_id=f"r{i}", charged_nano=900 + i) for i in (0, 1))])
    store.apply([replace(VOID, request_id="r2")])
    clock.ms += HOLD.expires_in_ms
    store.sweep()  # r3
    store.apply(held[4:])
    assert store.snapshot() == Snapshot(
        totals=(
            # requests, images, vision, text and output tokens, charged
            Total(
                model="m",
                outcome="complete",
                requests=2,
                images=4,
                vision_tokens=4_784,
                text_tokens=128,
                output_tokens=300,
                charged_nano=1_801,
            ),  # 900 + 901
            Total(
                model="m",
                outcome="engine_failed",
                requests=1,
                images=2,
                vision_tokens=2_392,
                text_tokens=64,
                output_tokens=150,
                charged_nano=0,
            ),
            Total(
                model="m",
                outcome="expired",
                requests=1,
                images=0,
                vision_tokens=0,
                text_tokens=0,
                output_tokens=0,
                charged_nano=0,
            ),
        ),
        holds_open=2,
        reserved_nano=2_000,
    )


def test_a_generation_is_all_that_is_known_of_a_request(store: Store, clock: Clock):
    """Its hold, and each attempt."""
    store.apply([replace(HOLD, user_id="ann", metadata='{"order": 7}'), FirstByte("r1", 1)])
    clock.ms = 2_000
    store.apply([POST])
    assert store.generation("r1") == Generation(
        request_id="r1",
        attempt=1,
        gateway_id="gw_1",
        key_id="key_1",
        org_id="org",
        project_id="project",
        user_id="ann",
        metadata='{"order": 7}',
        model="m",
        price_version=1,
        tier="default",
        units=Units(images=(1, 3), output=0),
        parts=("credit:org",),
        amount_nano=4_000,
        charged_nano=3_000,
        state="posted",
        why="complete",
        created_at_ms=1_000,
        first_byte_at_ms=1_000,
        expires_at_ms=61_000,
        closed_at_ms=2_000,
        attempts=(EndedAttempt(attempt=1, charged=True, record=TRIED),),
    )


def test_a_request_that_never_was_has_no_generation(store: Store):
    """None is the answer."""
    assert store.generation("r9") is None


def test_a_holds_record_is_one_row_of_usage(store: Store, clock: Clock):
    """One row a request that ended says who, what and how much."""
    store.apply([HOLD])
    clock.ms = 2_000
    store.apply([POST])
    assert store.ended_requests(2_000, 2_001) == [
        {
            "request_id": "r1",
            "org_id": "org",
            "project_id": "project",
            "key_id": "key_1",
            "user_id": None,
            "metadata": None,
            "model": "m",
            "tier": "default",
            "price_version": 1,
            "units": '{"images":[1,3],"output":0}',
            "images": 2,
            "text_tokens": 64,
            "vision_tokens": 2_392,
            "cached_tokens": 10,
            "output_tokens": 150,
            "hold_nano": 4_000,
            "charged_nano": 3_000,
            "ttft_ms": 80,
            "latency_ms": 900,
            "replica_id": "replica_1",
            "finish": "stop",
            "outcome": "complete",
            "created_at_ms": 1_000,
            "closed_at_ms": 2_000,
        }
    ]


def test_what_was_never_measured_has_a_record_too(store: Store, clock: Clock):
    """An open hold has none; an expired one is free and has no measures."""
    store.apply([HOLD])
    assert store.ended_requests(0, EVER) == []
    clock.ms += HOLD.expires_in_ms
    store.sweep()
    (row,) = store.ended_requests(0, EVER)
    assert [row[name] for name in ("outcome", "charged_nano", "output_tokens", "replica_id")] == [
        "expired",
        0,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "found"),
    [(0, 1_100, 0), (0, 1_101, 1), (1_899, 9_999, 1), (1_900, 9_999, 0), (1_200, 1_300, 1)],
)
def test_stays_are_found_by_their_time(store: Store, from_ms: int, to_ms: int, found: int):
    """Those that overlap it: this one was from 1,100 to 1,900. Without a replica there is no stay. Its prompt is text and
    vision tokens together, as the engine counts them.
    """
    nowhere = replace(TRIED, replica_id=None, slot_from_ms=None, slot_to_ms=None)
    store.apply([HOLD, POST, replace(HOLD, request_id="r2"), replace(VOID, request_id="r2", record=nowhere)])
    expected = Stay(
        request_id="r1",
        attempt=1,
        replica_id="replica_1",
        model="m",
        from_ms=1_100,
        to_ms=1_900,
        finish="stop",
        prompt_tokens=64 + 2_392,
        output_tokens=150,
        charged_nano=3_000,
    )
    assert store.stays(from_ms, to_ms) == [expected] * found


@pytest.mark.parametrize("charged_nano", [0, 3_000])
def test_only_the_attempt_that_was_charged_has_its_requests_charge(store: Store, charged_nano: int):
    """A free model's attempt is charged zero; one before the charged attempt is not charged at all."""
    store.apply([HOLD, replace(HOLD, request_id="r2", is_retry=True)])
    store.apply([POST, replace(POST, attempt=2, charged_nano=charged_nano)])
    assert [(stay.attempt, stay.charged_nano) for stay in store.stays(0, EVER)] == [(1, None), (2, charged_nano)]


def test_entries_are_read_in_order_and_in_pieces(store: Store):
    """From any line on."""
    store.apply([HOLD, POST])
    lines = store.entries(0, 100)
    assert [(line.kind, line.ref, line.account, line.amount_nano, line.at_ms) for line in lines] == [
        ("grant", "free", "credit:org", -10_000, 1_000),
        ("grant", "free", "contra:grant", 10_000, 1_000),
        ("charge", "r1", "credit:org", 3_000, 1_000),
        ("charge", "r1", "revenue", -3_000, 1_000),
    ]
    assert lines[0].seq >= 1
    assert [line.seq for line in lines] == sorted({line.seq for line in lines})
    assert store.entries(lines[0].seq, 2) == lines[1:3]
    assert store.entries(lines[-1].seq, 2) == []


def test_prices_are_listed_by_model_and_version(store: Store):
    """As they were stored."""
    second, other = replace(PRICE, version=2, unit_nano=2_000), replace(PRICE, model="a", text_token_nano=3)
    store.apply([AddPrice(second), AddPrice(other)])
    assert store.prices() == [other, PRICE, second]


# --- Restoring

ACCOUNTS = (
    Account(id="credit:org", kind="credit", limit_nano=0),
    Account(id="bud:org:org:lifetime", kind="budget", limit_nano=2_000),
)
LINES = (
    Entry(seq=1, kind="grant", ref="free", account="credit:org", amount_nano=-10_000, at_ms=500),
    Entry(seq=2, kind="grant", ref="free", account="contra:grant", amount_nano=10_000, at_ms=500),
    Entry(seq=7, kind="charge", ref="r0", account="credit:org", amount_nano=3_000, at_ms=600),
    Entry(seq=8, kind="charge", ref="r0", account="revenue", amount_nano=-3_000, at_ms=600),
    Entry(seq=9, kind="charge", ref="r0", account="bud:org:org:lifetime", amount_nano=3_000, at_ms=600),
    Entry(seq=10, kind="charge", ref="r0", account="contra:budget", amount_nano=-3_000, at_ms=600),
)


def test_a_ledger_is_restored_from_its_lines(blank: Store):
    """They keep their numbers and times; balances are their sums, and a limit below one is reached later."""
    blank.restore(ACCOUNTS, [PRICE], LINES)
    assert blank.entries(0, 100) == list(LINES)
    assert blank.prices() == [PRICE]
    assert blank.balances() == [
        Balance(account="bud:org:org:lifetime", kind="budget", limit_nano=3_000, posted_nano=3_000, reserved_nano=0),
        Balance(account="contra:budget", kind="contra", limit_nano=None, posted_nano=-3_000, reserved_nano=0),
        Balance(account="contra:grant", kind="contra", limit_nano=None, posted_nano=10_000, reserved_nano=0),
        Balance(account="credit:org", kind="credit", limit_nano=0, posted_nano=-7_000, reserved_nano=0),
        Balance(account="revenue", kind="contra", limit_nano=None, posted_nano=-3_000, reserved_nano=0),
    ]
    assert blank.verify() == []


def test_a_restored_ledger_goes_on(blank: Store):
    """With the next number, and with what was left of the credit."""
    blank.restore(ACCOUNTS, [PRICE], LINES)
    holds = [replace(HOLD, request_id=f"r{amount}", amount_nano=amount) for amount in (7_001, 7_000)]
    assert results(blank, *holds, replace(POST, request_id="r7000")) == [
        Result.NO_ROOM,
        Result.CREATED,
        Result.POSTED,
    ]
    assert [entry.seq for entry in blank.entries(10, 100)] == [11, 12]
    assert blank.verify() == []


@pytest.mark.parametrize(
    ("accounts", "lines"),
    [
        (ACCOUNTS[1:], LINES),  # an account that nobody knows
        (ACCOUNTS, (*LINES, replace(LINES[0], seq=11))),  # the same twice
    ],
)
def test_lines_that_cannot_be_are_not_restored(blank: Store, accounts: tuple[Account, ...], lines: tuple[Entry, ...]):
    """Not even some of them."""
    before = everything(blank)
    with pytest.raises(StoreError, match="these lines are not those of one ledger; export it again"):
        blank.restore(accounts, [PRICE], lines)
    assert everything(blank) == before


def test_a_ledger_in_use_is_not_restored(store: Store):
    """Its own lines would be lost among others."""
    before = everything(store)
    with pytest.raises(StoreError, match="this ledger is in use; import into a new one"):
        store.restore(ACCOUNTS, [PRICE], LINES)
    assert everything(store) == before


def test_a_price_that_differs_is_not_restored(blank: Store):
    """The same version cannot mean two prices."""
    blank.apply([AddPrice(replace(PRICE, unit_nano=9))])
    with pytest.raises(StoreError, match="version 1 of the price of m is another here"):
        blank.restore(ACCOUNTS, [PRICE], LINES)
    assert blank.entries(0, 100) == []
