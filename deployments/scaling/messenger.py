"""A gateway's line to the governor: a report every second, and what comes back. No request ever waits for it."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from deployments.log import logger_for
from deployments.scaling.locate import find_governor
from deployments.scaling.report import News, Report
from deployments.scaling.signals import Signals

logger = logger_for(__name__)

EVERY_S = 1.0
ANSWER_S = 5.0
LOOK_AGAIN_S = 5.0


class NoGovernor(Exception):
    """There is none, or it does not answer."""


class Messenger:
    """`sender` names this gateway; `find` returns the governor's handle, None if there is none."""

    def __init__(self, signals: Signals, sender: str, find: Callable[[], Any | None] = find_governor) -> None:
        self._signals = signals
        self._sender = sender
        self._find = find
        self._epoch = uuid.uuid4().hex
        self._began_s = time.monotonic()
        self._sequence = 0
        self._governor: Any | None = None
        self._news: dict[str, News] = {}
        self._heard_s = 0.0
        self._decided_s: dict[str, float] = {}

    def news(self, model: str) -> News | None:
        """What the governor said last; None if it has been silent, or knows no such model."""
        return self._news.get(model) if time.monotonic() - self._heard_s <= ANSWER_S else None

    def undecided_s(self, model: str) -> float:
        """Since the last decision about its replicas that is known here; since this gateway began if none is."""
        return time.monotonic() - self._decided_s.get(model, self._began_s)

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                self._hear(await self._ask("report", self._report()))
                await asyncio.sleep(EVERY_S)
            except NoGovernor as error:
                logger.debug("nobody to report to: %s", error)
                await asyncio.sleep(LOOK_AGAIN_S)

    async def explain(self, model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        """See `Governor.explain`. Raises `NoGovernor`."""
        answer: dict[str, Any] = await self._ask("explain", model, at_s, limit)
        return answer

    async def _ask(self, about: str, *arguments: object) -> Any:
        try:
            governor = self._governor = self._governor or await asyncio.to_thread(self._find)
            if governor is not None:
                async with asyncio.timeout(ANSWER_S):
                    return await getattr(governor, about).remote(*arguments)
        except Exception as error:  # whatever Ray raises while its head is away, this line must not end
            self._governor = None
            raise NoGovernor(f"the governor does not answer: {type(error).__name__}") from error
        raise NoGovernor("the application 'scaling' does not run")

    def _hear(self, news: dict[str, News]) -> None:
        self._news, self._heard_s = news, time.monotonic()
        for model, told in news.items():
            if told.undecided_s is not None:
                self._decided_s[model] = self._heard_s - told.undecided_s

    def _report(self) -> Report:
        self._sequence += 1
        age_s = time.monotonic() - self._began_s
        return Report(self._sender, self._epoch, self._sequence, age_s, self._signals.counts(), self._signals.levels())
