from dataclasses import replace

import pytest

from accounting.command import Sample
from accounting.gpu_cost import Cost
from accounting.money import usd
from deployments.gateway.admin.reports import cost_object
from tests.gateway.admin.operator import call, done, told
from tests.gateway.house import NOW_MS, House, question

HOUR_MS = 3_600_000
# A replica at $3.60 an hour: 1,000 nano-dollars a millisecond.
SAMPLE = Sample(
    replica_id="replica-1",
    epoch="e1",
    model="demo-qwen2-vl",
    at_ms=0,
    state="loading",
    rent_nano_per_hour=3_600_000_000,
)


async def sampled(house: House, *moments: tuple[str, int]) -> None:
    """What the replica said of itself: state and time."""
    await house.do(*(replace(SAMPLE, state=state, at_ms=at_ms) for state, at_ms in moments))


async def test_the_newest_change_comes_first(house: House):
    """Each with who made it; a page is bounded."""
    for number in range(3):
        await done(house, "POST", "/credits", ref=f"r{number}", org="org", amount_usd="1", reason="x")
    page = await done(house, "GET", "/audit?limit=2")
    assert [change["content"]["ref"] for change in page["data"]] == ["r2", "r1"]
    assert page["has_more"] is True
    assert page["data"][0]["at"] == NOW_MS // 1000


@pytest.mark.parametrize(("query", "found"), [("?end_time=1000", False), ("?start_time=1000&end_time=1001", True)])
async def test_changes_are_found_by_time(house: House, query: str, found: bool):
    """Seconds; the end is exclusive."""
    assert bool((await done(house, "GET", f"/audit{query}"))["data"]) is found


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/audit?limit=0", "limit"),
        ("/audit?since=1", "since"),
        ("/cost", "day"),
        ("/cost?day=yesterday", "day"),
        ("/cost?day=1970-01-02", "day"),
        ("/cost?day=1970-01-01&model=x", "model"),
    ],
)
async def test_a_report_that_cannot_be_is_refused_by_field(house: House, path: str, param: str):
    """What is unknown, and what has not begun."""
    assert told(await call(house, "GET", path)) == (400, param)


async def test_a_day_costs_what_its_replicas_cost(house: House):
    """10 s of loading and 80 s without a request, at $3.60 an hour; hours add up, here across the first."""
    start_ms = HOUR_MS - 50_000
    house.clock.ms = 2 * HOUR_MS
    await sampled(house, *(("loading" if n < 1 else "ready", start_ms + n * 10_000) for n in range(9)))
    report = await done(house, "GET", "/cost?day=1970-01-01")
    (model,) = report["data"]
    assert model == {
        "model": "demo-qwen2-vl",
        "rent_usd": "0.09",
        "share_usd": "0",
        "idle_usd": "0.08",
        "cold_usd": "0.01",
        "waste_usd": "0",
        "revenue_usd": "0",
        "margin_usd": "-0.09",
    }
    assert report["total"] == {name: value for name, value in model.items() if name != "model"}


async def test_a_day_without_a_replica_costs_nothing(house: House):
    """No row is made up."""
    report = await done(house, "GET", "/cost?day=1970-01-01")
    assert (report["data"], report["total"]["rent_usd"]) == ([], "0")


async def test_a_day_earned_what_its_answers_cost(house: House):
    """In the hour in which they ended."""
    house.clock.ms = HOUR_MS + 1
    await sampled(house, ("ready", HOUR_MS), ("ready", HOUR_MS + 10_000))
    cost_nano = house.charged_nano(await house.ask(question()))
    house.clock.ms = 2 * HOUR_MS
    report = await done(house, "GET", "/cost?day=1970-01-01")
    assert report["total"]["revenue_usd"] == usd(cost_nano)


def test_a_cost_is_printed_exactly():
    """To the nano-dollar, the margin too."""
    shown = cost_object(Cost(rent_nano=3, share_nano=1, idle_nano=1, waste_nano=1, revenue_nano=2))
    assert (shown["rent_usd"], shown["margin_usd"]) == ("0.000000003", "-0.000000001")
