"""The last hour, read slice by slice."""

import asyncio
from dataclasses import replace

import pytest

from accounting import questions
from accounting.command import Attempt, Hold, Outcome, Post, Sample
from accounting.gpu_cost import gpu_costs
from accounting.life import lives_of
from catalog import Catalog
from deployments.gateway.desk import Desk
from deployments.gateway.errors import LedgerUnavailable
from deployments.gateway.gpu import SLICE_MS, slices
from deployments.gateway.metrics_hour import LOOK_BACK_MS, LastHour, purposes_of
from tests.gateway.house import CARD, HOLD, House

NOW_MS = 100 * 3_600_000 + 7 * 60_000
FROM_MS = NOW_MS - LOOK_BACK_MS
CROSSING_MS = FROM_MS // SLICE_MS * SLICE_MS + 2 * SLICE_MS
PROMPT_TOKENS, OUTPUT_TOKENS = 100, 10


def sample(at_ms: int, ended: int) -> Sample:
    """An idle replica that has counted so many attempts."""
    return Sample(
        replica_id="r",
        epoch="e",
        model=CARD.served_name,
        at_ms=at_ms,
        state="ready",
        rent_nano_per_hour=3_600_000_000,
        slots_held=0,
        in_flight=0,
        prompt_tokens=ended * PROMPT_TOKENS,
        output_tokens=ended * OUTPUT_TOKENS,
    )


def ended(number: int, from_ms: int, to_ms: int, record_id: str) -> tuple[Hold, Post]:
    hold = replace(HOLD, request_id=f"r{number}", key_id=record_id)
    tried = Attempt(
        replica_id="r",
        finish="stop",
        images=1,
        text_tokens=PROMPT_TOKENS,
        vision_tokens=0,
        cached_tokens=0,
        output_tokens=OUTPUT_TOKENS,
        ttft_ms=5,
        latency_ms=to_ms - from_ms,
        slot_from_ms=from_ms,
        slot_to_ms=to_ms,
    )
    return hold, Post(
        request_id=hold.request_id, attempt=1, charged_nano=10_000, outcome=Outcome.COMPLETE, record=tried
    )


@pytest.fixture
async def last_hour(house: House) -> LastHour:
    """Of a replica with three attempts: one within a slice, one in two of them, and one that began before the hour."""
    house.clock.ms = NOW_MS
    stays = [
        (FROM_MS - 5_000, FROM_MS + 3_000),
        (CROSSING_MS - 4_000, CROSSING_MS + 4_000),
        (CROSSING_MS + 20_000, CROSSING_MS + 23_000),
    ]
    for number, (from_ms, to_ms) in enumerate(stays):
        await house.do(*ended(number, from_ms, to_ms, house.record.id))
    times = range(FROM_MS + 5_000, NOW_MS, 10_000)
    await house.do(*(sample(at_ms, sum(to_ms < at_ms for _, to_ms in stays)) for at_ms in times))
    return LastHour(Desk(house.ledger), Catalog([CARD]), house.clock)


async def test_slices_add_up_to_the_hour(house: House, last_hour: LastHour):
    """To the nano-dollar, as if it had been read at once; and each attempt is compared with the engine's counters once."""
    hour, desk = await last_hour.look(), Desk(house.ledger)
    samples = await desk.rows(questions.Samples(from_ms=FROM_MS, to_ms=NOW_MS))
    stays = await desk.rows(questions.Stays(from_ms=FROM_MS, to_ms=NOW_MS))
    whole = gpu_costs(lives_of(samples), stays, FROM_MS, NOW_MS).by_model()[CARD.served_name]
    assert {purpose: hour.gpu_nano[CARD.served_name, purpose] for purpose in purposes_of(whole)} == purposes_of(whole)
    assert hour.gpu_nano[CARD.served_name, "share"] > 0
    assert hour.revenue_nano == {CARD.served_name: 30_000}
    assert hour.mismatch_ratios == {CARD.served_name: 0.0}


async def test_it_is_read_once_for_all_who_ask(house: House, last_hour: LastHour):
    """And for whoever asks within the next minute, also if the first of them has left."""
    leaving = asyncio.create_task(last_hour.look())
    waiting = asyncio.create_task(last_hour.look())
    await asyncio.sleep(0)
    leaving.cancel()
    first = await waiting
    assert first is await last_hour.look()
    house.clock.ms += 60_000
    assert first is not await last_hour.look()


async def test_a_ledger_that_is_away_is_asked_again(house: House, last_hour: LastHour):
    """Whoever comes next has another try."""
    await house.ledger.close(5)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            await last_hour.look()


def test_slices_meet_at_whole_ones():
    """The first and the last are what is left."""
    assert list(slices(SLICE_MS - 3, 2 * SLICE_MS + 5)) == [
        (SLICE_MS - 3, SLICE_MS),
        (SLICE_MS, 2 * SLICE_MS),
        (2 * SLICE_MS, 2 * SLICE_MS + 5),
    ]
    assert list(slices(7, 7)) == []
