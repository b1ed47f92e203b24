"""The two gates, and what happens while the ledger is away."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounting.command import Command, FirstByte, Hold, Outcome, Post, Reply, Result, Void
from accounting.questions import FleetTotals
from accounting.sqlite import SqliteStore
from accounting.store import StoreError
from deployments.gateway import answer
from deployments.gateway import bill as bills
from deployments.gateway.bill import Bill, Usage, refusal
from deployments.gateway.errors import BadRequest, InProgress, LedgerUnavailable
from tests.gateway import engine_server
from tests.gateway.engine_server import CONTENT_CHUNKS, TEXT_TOKENS, VISION_TOKENS, WORDS, pauses_after
from tests.gateway.house import HOLD, PRICE, STREAM, WORK, House, charge_nano, question, running_house

WAIT_S = 10.0  # never reached: these waits end by an event
RETRY = {"x_stainless_retry_count": "1"}


def slow(kind: type[Command] | None) -> type["SlowStore"]:
    """A store that begins commands of this kind, and finishes them when `opened` is set."""

    class Slow(SlowStore):
        waits_for = kind
        begun = threading.Event()
        opened = threading.Event()

    return Slow


class StoreAround:
    """A store that does as another one does."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class SlowStore(StoreAround):
    waits_for: type[Command] | None
    begun: threading.Event
    opened: threading.Event

    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        if self.waits_for is None:
            return self._store.apply(commands)
        if any(isinstance(command, self.waits_for) for command in commands):
            self.begun.set()
            assert self.opened.wait(WAIT_S)
        return self._store.apply(commands)


@asynccontextmanager
async def slow_house(folder: Path, kind: type[Command] | None, post_ack_s: float = bills.POST_ACK_S):
    store = slow(kind)
    async with running_house(folder, wrap=store, post_ack_s=post_ack_s) as house:
        try:
            yield house, store
        finally:
            store.opened.set()


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_nothing_leaves_before_the_hold_is_durable(tmp_path: Path, fields: dict[str, object]):
    """Neither a byte to the client nor a request to the engine; then all goes on as usual."""
    async with slow_house(tmp_path, Hold) as (house, store):
        client, asking = house.begin(question(**fields))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert client.sent == house.engine.asked == []
        store.opened.set()
        await asking
        assert client.status == 200


async def test_a_whole_answer_waits_for_its_charge(tmp_path: Path):
    """Not even its status is sent before."""
    async with slow_house(tmp_path, Post) as (house, store):
        client, asking = house.begin(question())
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert client.sent == []
        store.opened.set()
        await asking
        assert client.complete


async def test_the_end_of_a_stream_waits_for_its_charge(tmp_path: Path):
    """The content is sent as it comes; the usage and [DONE] mean that it is charged."""
    async with slow_house(tmp_path, Post) as (house, store):
        client, asking = house.begin(question(**STREAM))
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        assert len(client.events) == CONTENT_CHUNKS
        store.opened.set()
        await asking
        assert client.events[-1] == "[DONE]"


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_an_answer_whose_charge_is_not_confirmed_is_withheld_and_free(tmp_path: Path, fields: dict[str, Any]):
    """A hung ledger lets no end of an answer out, and what it books when it comes back is given back."""
    async with slow_house(tmp_path, Post, post_ack_s=0.05) as (house, store):
        client = await house.ask(question(**fields))
        error = client.events[-1]["error"] if fields else client.error
        assert (client.status, error["code"]) == (200 if fields else 503, "charge_unconfirmed")
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (charge_nano(len(WORDS)), Outcome.COMPLETE)
        (refund,) = house.rows("SELECT ref, request_id, amount_nano FROM refund")
        assert refund == {
            "ref": f"withheld:{row['request_id']}",
            "request_id": row["request_id"],
            "amount_nano": charge_nano(len(WORDS)),
        }


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_an_answer_that_was_withheld_is_had_with_its_key(tmp_path: Path, fields: dict[str, Any]):
    """Once the ledger is back, for the one charge."""
    async with slow_house(tmp_path, Post, post_ack_s=0.05) as (house, store):
        await house.ask(question(**fields), idempotency_key="k")
        store.opened.set()
        again = await house.ask(question(**fields), idempotency_key="k")
        assert (again.status, again.headers["x-idempotent-replay"]) == (200, "true")
        assert len(house.engine.asked) == 1
        assert await house.charges_nano() == [charge_nano(len(WORDS))]
        assert house.rows("SELECT ref FROM refund") == []


async def test_a_charge_that_the_ledger_refuses_for_good_lets_no_answer_go(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """And its hold ends at once, not when its time is over."""
    monkeypatch.setattr(answer, "TOKENS_MAX", 2**64)
    told = engine_server.whole()
    told["usage"]["completion_tokens"] = 2**63
    house.engine.behaves = engine_server.says(told, [])
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "ledger_unavailable")
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.LEDGER_FAILED)


async def test_a_user_that_the_ledger_cannot_keep_is_refused_before_anything_runs(house: House):
    bill = Bill(house.books, replace(HOLD, user_id="\0"), PRICE, WORK)
    with pytest.raises(BadRequest) as refused:
        await bill.durable()
    assert refused.value.param == "user"
    assert await house.usage() == []


async def test_a_hold_that_takes_too_long_is_our_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """503, and the hold is void as soon as it is there."""
    monkeypatch.setattr(bills, "HOLD_ACK_S", 0.05)
    async with slow_house(tmp_path, Hold) as (house, store):
        client = await house.ask(question())
        assert (client.status, client.error["code"], client.headers["retry-after"]) == (503, "ledger_unavailable", "1")
        assert house.engine.asked == []
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.LEDGER_FAILED)


async def test_a_take_over_that_takes_too_long_is_voided_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nobody goes on with the first try's hold then: neither its retry nor itself, which is told so."""
    monkeypatch.setattr(bills, "HOLD_ACK_S", 0.05)
    async with slow_house(tmp_path, None) as (house, store):
        house.engine.behaves = pauses_after(0)
        first, asking = house.begin(question())
        await house.engine.was_asked(1)
        store.waits_for = Hold
        retry = await house.ask(question(), **RETRY)
        assert (retry.status, retry.error["code"]) == (503, "ledger_unavailable")
        store.opened.set()
        house.engine.resume(0)
        await asking
        assert (first.status, first.error["code"]) == (409, "idempotency_in_progress")
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.LEDGER_FAILED)


async def test_while_the_ledger_is_away_nothing_runs(house: House):
    """A working key is told 503, never 401, and the engine is not asked."""
    await house.writer.stop()
    client = await house.ask(question())
    assert (client.status, client.error["code"], client.headers["retry-after"]) == (503, "ledger_unavailable", "1")
    assert house.engine.asked == []
    assert house.metrics.errors == [503]


async def test_a_ledger_that_comes_back_is_found_again(house: House):
    """At another address, and nothing is restarted for it."""
    await house.writer.stop()
    assert (await house.ask(question())).status == 503
    await house.writer.start()
    await house.ledger.ask(FleetTotals())
    assert (await house.ask(question())).status == 200
    assert await house.charges_nano() == [charge_nano(len(WORDS))]


async def test_a_store_that_cannot_write_is_not_the_callers_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a full disk 503, nothing runs, and nothing is held once there is room again."""
    monkeypatch.setattr(bills, "HOLD_ACK_S", 0.05)

    class Full(StoreAround):
        is_full = True

        def apply(self, commands: Sequence[Command]) -> list[Reply]:
            if self.is_full:
                raise StoreError("disk full")
            return self._store.apply(commands)

    async with running_house(tmp_path, wrap=Full) as house:
        client = await house.ask(question())
        assert (client.status, client.error["code"], client.headers["retry-after"]) == (503, "ledger_unavailable", "1")
        assert house.engine.asked == []
        Full.is_full = False
        monkeypatch.setattr(bills, "HOLD_ACK_S", WAIT_S)
        assert (await house.ask(question())).status == 200
        assert await house.charges_nano() == [charge_nano(len(WORDS))]


async def test_a_client_that_leaves_before_the_hold_is_durable_pays_nothing(tmp_path: Path):
    """The hold that it leaves behind is voided."""
    async with slow_house(tmp_path, Hold) as (house, store):
        client, asking = house.begin(question())
        assert await asyncio.to_thread(store.begun.wait, WAIT_S)
        client.leave()
        await asking
        store.opened.set()
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.CLIENT_LEFT_EARLY)


async def opened(house: House, hold: Hold = HOLD, clock_s: Callable[[], float] = lambda: 0.0) -> Bill:
    """A bill for one image and at most 600 output tokens, its hold durable."""
    bill = Bill(replace(house.books, clock_s=clock_s), hold, PRICE, WORK)
    await bill.durable()
    return bill


@pytest.mark.parametrize(
    ("output_tokens", "amount_nano"),
    [
        (0, 10_030),  # 1 * 10,000 + 30 * 1
        (100, 16_030),  # + 100 * 60
        (513, 50_810),  # 2 * 10,000 + 30 + 513 * 60
        (600, 56_030),  # 2 * 10,000 + 30 + 600 * 60
        (10_000, 60_000),  # the hold
    ],
)
async def test_a_charge_never_exceeds_the_hold(house: House, output_tokens: int, amount_nano: int):
    """What an engine does beyond the hold is ours to bear."""
    bill = await opened(house)
    bill.usage = Usage(VISION_TOKENS + TEXT_TOKENS, output_tokens)
    assert bill.charge().amount_nano == amount_nano


async def test_a_bill_ends_once(house: House):
    """Whatever is tried after its end changes nothing."""
    bill = await opened(house)
    bill.usage = Usage(VISION_TOKENS + TEXT_TOKENS, 3)
    await bill.post(b"{}")
    bill.client_left(was_sent=True)
    bill.client_left(was_sent=False)
    bill.void(Outcome.ENGINE_FAILED)
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (charge_nano(3), Outcome.COMPLETE)


async def test_times_are_measured_from_the_request(house: House):
    """The first chunk sets the time to it; later ones do not move it."""
    now_s = 10.0
    bill = await opened(house, clock_s=lambda: now_s)
    now_s = 10.25
    bill.first_chunk()
    now_s = 11.5
    bill.first_chunk()
    await bill.post(b"{}")
    (row,) = await house.usage()
    assert (row["ttft_ms"], row["latency_ms"]) == (250, 1500)


async def test_a_slot_is_held_until_the_end(house: House):
    """What GPU cost is shared by: from when to when the request had a place on its replica."""
    bill = await opened(house)
    house.clock.ms += 5
    bill.slot_taken("replica-1")
    house.clock.ms += 70
    await bill.post(b"{}")
    await house.usage()
    (attempt,) = house.rows("SELECT replica_id, slot_to_ms - slot_from_ms AS held_ms FROM attempt")
    assert attempt == {"replica_id": "replica-1", "held_ms": 70}


async def test_an_answer_is_kept_for_its_idempotency_key_only(house: House):
    """Without one there is nobody to tell it again."""
    await (await opened(house)).post(b'{"a": 1}')
    await (await opened(house, replace(HOLD, request_id="named", idempotency_key="k"))).post(b'{"b": 2}')
    assert house.rows("SELECT request_id, response FROM idempotency") == [
        {"request_id": "named", "response": '{"b": 2}'}
    ]


async def test_what_cannot_be_charged_any_more_does_not_leave(house: House, caplog: pytest.LogCaptureFixture):
    """A hold that ended behind the request's back pays for no answer; its operator is told."""
    bill = await opened(house)
    await house.do(Void(request_id=HOLD.request_id, attempt=1, outcome=Outcome.EXPIRED, record=bill._attempt()))
    with pytest.raises(LedgerUnavailable):
        await bill.post(b"{}")
    assert "unproven: request request ended as complete: already_void" in caplog.text
    assert bill.outcome is Outcome.LEDGER_FAILED


@pytest.mark.parametrize("retry_ends", [True, False])
async def test_a_request_that_was_taken_over_is_not_charged_twice(house: House, retry_ends: bool):
    """Whether its retry has ended or not, the first try is told that it is not the one."""
    first = await opened(house)
    retry = await opened(house, replace(HOLD, request_id="retry", is_retry=True))
    assert retry.request_id == first.request_id
    if retry_ends:
        await retry.post(b"{}")
    with pytest.raises(InProgress):
        await first.post(b"{}")
    retry.void(Outcome.ENGINE_FAILED)
    assert len(await house.charges_nano()) == retry_ends


async def test_a_request_is_told_at_its_first_byte_that_it_was_taken_over(house: House):
    """So that its stream ends there."""
    first = await opened(house)
    retry = await opened(house, replace(HOLD, request_id="retry", is_retry=True))
    assert not first.taken_over
    first.first_byte()
    retry.first_byte()
    await house.ledger.submit(FirstByte("none", 1))  # answered after both
    assert (first.taken_over, retry.taken_over) == (True, False)


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(Result.NO_ROOM, blocked_by="credit:org"), 429, "credit_balance_exhausted"),
        (Reply(Result.NO_SUCH_ACCOUNT, blocked_by="credit:org"), 429, "credit_balance_exhausted"),
        (Reply(Result.NO_ROOM, blocked_by="bud:key:key_a:2026-11"), 429, "key_spend_limit_exceeded"),
        (Reply(Result.NO_ROOM, blocked_by="bud:project:p:q:lifetime"), 429, "project_spend_limit_exceeded"),
        (Reply(Result.NO_ROOM, blocked_by="bud:org:o:2026-11-21"), 429, "organization_spend_limit_exceeded"),
        (Reply(Result.RATE_LIMITED, blocked_by="concurrency", retry_after_ms=1_000), 429, "rate_limit_exceeded"),
        (Reply(Result.IN_PROGRESS, request_id="r", retry_after_ms=1_000), 409, "idempotency_in_progress"),
        (Reply(Result.IDEMPOTENCY_KEY_REUSED), 400, "idempotency_key_reuse"),
        (Reply(Result.NO_SUCH_PRICE), 503, "price_unavailable"),
        (Reply(Result.EXISTS_WITH_DIFFERENT_CONTENT), 503, "ledger_unavailable"),
        (Reply(Result.INVALID), 503, "ledger_unavailable"),
        (Reply(Result.INVALID, blocked_by="request_id"), 503, "ledger_unavailable"),
        (Reply(Result.INVALID, blocked_by="user_id"), 400, None),
        (Reply(Result.UNAVAILABLE), 503, "ledger_unavailable"),
        (Reply(Result.REPLAYED, request_id="r"), 409, "idempotency_answer_not_kept"),
    ],
    ids=lambda value: f"{value.result}-{value.blocked_by}" if isinstance(value, Reply) else None,
)
def test_each_refusal_of_a_hold_has_its_error(reply: Reply, status: int, code: str):
    """What the caller can change is told by name; what only we can is our fault."""
    error = refusal(reply)
    assert (error.status, error.code) == (status, code)
