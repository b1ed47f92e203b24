"""A gateway's line to the governor, which is played by an object with the same calls."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError

from catalog import load_catalog
from deployments.scaling import messenger as messenger_module
from deployments.scaling.messenger import Messenger, NoGovernor
from deployments.scaling.report import News, Report
from deployments.scaling.signals import Signals

CARD = load_catalog().find("demo-qwen2-vl")
MODEL = CARD.served_name


class Governor:
    """`fails`: how often it does before it answers, with `error`."""

    def __init__(self, fails: int = 0, error: Exception | None = None) -> None:
        self.reports: list[Report] = []
        self.fails = fails
        self.error = error or RayActorError()
        self.heard = asyncio.Event()

    @property
    def report(self) -> Any:
        return SimpleNamespace(remote=self._report)

    async def _report(self, report: Report) -> dict[str, News]:
        if self.fails:
            self.fails -= 1
            raise self.error
        self.reports.append(report)
        if len(self.reports) == 3:
            self.heard.set()
        return {MODEL: News(0, 12.0, undecided_s=3.0)}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger_module, "EVERY_S", 0.001)
    monkeypatch.setattr(messenger_module, "LOOK_AGAIN_S", 0.001)


async def heard(governor: Governor, find: Callable[[], Any | None]) -> Messenger:
    """A messenger whose governor has had three reports."""
    messenger = Messenger(Signals([CARD]), "gw", find)
    running = asyncio.create_task(messenger.run())
    await asyncio.wait_for(governor.heard.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return messenger


async def test_reports_are_numbered_within_one_life():
    governor = Governor()
    await heard(governor, lambda: governor)
    assert [report.sequence for report in governor.reports[:3]] == [1, 2, 3]
    assert len({report.epoch for report in governor.reports}) == 1
    assert governor.reports[0].counts.keys() == {MODEL}


async def test_what_the_governor_knows_is_heard():
    governor = Governor()
    messenger = await heard(governor, lambda: governor)
    assert messenger.news(MODEL) == News(0, 12.0, undecided_s=3.0)
    assert messenger.news("another") is None


@pytest.mark.parametrize("error", [RayActorError(), ConnectionError(), RuntimeError()])
async def test_a_governor_that_fails_is_looked_up_again(error: Exception):
    """However Ray says so."""
    governor, found = Governor(2, error), []

    def find() -> Governor:
        found.append(1)
        return governor

    await heard(governor, find)
    assert len(found) == 3


async def test_it_is_known_how_long_nobody_has_decided(monkeypatch: pytest.MonkeyPatch):
    """By the governor's last word; of a model that it never spoke of, since the gateway began."""
    clock = SimpleNamespace(monotonic=lambda: 1000.0)
    monkeypatch.setattr(messenger_module, "time", clock)
    governor = Governor()
    messenger = await heard(governor, lambda: governor)
    clock.monotonic = lambda: 1040.0
    assert messenger.undecided_s(MODEL) == 43.0
    assert messenger.undecided_s("another") == 40.0


async def test_a_governor_that_comes_later_is_found():
    governor, looks = Governor(), iter([None, None])
    await heard(governor, lambda: next(looks, governor))
    assert governor.reports


async def test_without_a_governor_there_is_no_news_and_no_explanation():
    messenger = Messenger(Signals([CARD]), "gw", lambda: None)
    assert messenger.news(MODEL) is None
    with pytest.raises(NoGovernor):
        await messenger.explain(MODEL, None, 1)
