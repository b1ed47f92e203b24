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
    """`fails`: how often it does before it answers."""

    def __init__(self, fails: int = 0) -> None:
        self.reports: list[Report] = []
        self.fails = fails
        self.heard = asyncio.Event()

    @property
    def report(self) -> Any:
        return SimpleNamespace(remote=self._report)

    async def _report(self, report: Report) -> dict[str, News]:
        if self.fails:
            self.fails -= 1
            raise RayActorError
        self.reports.append(report)
        if len(self.reports) == 3:
            self.heard.set()
        return {MODEL: News(0, 12.0)}


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
    assert messenger.news(MODEL) == News(0, 12.0)
    assert messenger.news("another") is None


async def test_a_governor_that_fails_is_looked_up_again():
    governor, found = Governor(fails=2), []

    def find() -> Governor:
        found.append(1)
        return governor

    await heard(governor, find)
    assert len(found) == 3


async def test_a_governor_that_comes_later_is_found():
    governor, looks = Governor(), iter([None, None])
    await heard(governor, lambda: next(looks, governor))
    assert governor.reports


async def test_without_a_governor_there_is_no_news_and_no_explanation():
    messenger = Messenger(Signals([CARD]), "gw", lambda: None)
    assert messenger.news(MODEL) is None
    with pytest.raises(NoGovernor):
        await messenger.explain(MODEL, None, 1)
