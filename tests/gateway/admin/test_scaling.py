"""Decisions as an operator reads them; they are real ones, of the governor's own mind."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaling.config import Config
from autoscaling.offer import Offer
from deployments.gateway.admin.scaling import Explain, unscaled
from deployments.gateway.errors import ScalingUnavailable
from deployments.scaling.control import Control
from deployments.scaling.model import Member
from deployments.scaling.replicas import Serving, Stages
from deployments.scaling.report import Counts, Levels, Report
from tests.gateway.admin.operator import call, done, told
from tests.gateway.house import CARD, House, running_house

MODEL = CARD.served_name


def decided() -> Control:
    """A model that was asked for at second 1001, and ran at 1031."""
    control = Control([Member(MODEL, Offer("A100", 1, 2_000_000_000), 120.0)], None, Config(), 1000.0, {})
    for second, running in ((1, ()), (2, ()), (31, ("r1",)), (32, ("r1",))):
        now_s = 1000.0 + second
        control.report(Report("gw", "a", second, second, {MODEL: Counts()}, {MODEL: Levels(backlog_work_s=3.0)}), now_s)
        if running:
            control.started(MODEL, "r1", Stages(weights_s=4.0, ready_s=20.0))
        control.see(MODEL, Serving(running, 1 if second > 1 else 0, 0, 8), now_s)
        control.tick(now_s)
    return control


def explained(control: Control) -> Explain:
    async def explain(model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        return control.explain(model, at_s, limit)

    return explain


@pytest.fixture
async def scaled(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path, explain=explained(decided())) as house:
        yield house


async def test_the_latest_decision_of_each_model_is_shown(scaled: House):
    (row,) = (await done(scaled, "GET", "/scaling"))["data"]
    assert (row["model"], row["at"], row["running"]) == (MODEL, 1032, 1)
    assert row["words"]


async def test_a_row_has_its_inputs_its_terms_and_its_reason(scaled: House):
    (row,) = (await done(scaled, "GET", f"/scaling?model={MODEL}&at=1001"))["data"]
    assert (row["want"], row["replicas"], row["running"], row["granted"]) == (1, 1, 0, None)
    assert row["facts"]["backlog_s"] == 3.0
    assert "backlog 3 GPU-s" in row["words"]
    assert (row["hourly_before_usd"], row["hourly_after_usd"]) == ("0", "2")


async def test_a_model_s_starts_are_shown_by_stage(scaled: House):
    (start,) = (await done(scaled, "GET", f"/scaling?model={MODEL}"))["starts"]
    assert (start["total_s"], start["environment_s"], start["weights_s"], start["ready_s"]) == (29.0, 5.0, 4.0, 20.0)


async def test_of_the_past_the_newest_come_first(scaled: House):
    rows = (await done(scaled, "GET", f"/scaling?model={MODEL}&limit=2"))["data"]
    assert [row["at"] for row in rows] == [1032, 1031]


@pytest.mark.parametrize(("query", "param"), [("?at=5", "model"), ("?limit=0", "limit"), ("?modle=x", "modle")])
async def test_a_question_that_makes_no_sense_is_refused_by_field(scaled: House, query: str, param: str):
    assert told(await call(scaled, "GET", f"/scaling{query}")) == (400, param)


async def test_without_a_governor_it_is_said_what_to_do(house: House):
    client = await call(house, "GET", "/scaling")
    assert (client.status, client.error["code"]) == (ScalingUnavailable.status, "scaling_unavailable")
    assert "'scaling'" in client.error["message"]


async def test_a_fleet_without_an_autoscaler_has_decided_nothing(tmp_path: Path):
    """All of it in one application: that is no fault."""
    async with running_house(tmp_path, explain=unscaled) as house:
        assert (await done(house, "GET", "/scaling"))["data"] == []
