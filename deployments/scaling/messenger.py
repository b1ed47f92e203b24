"""A gateway's line to the governor: a report every second, and what comes back. No request ever waits for it."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError

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

    def news(self, model: str) -> News | None:
        """What the governor said last; None if it has been silent, or knows no such model."""
        return self._news.get(model) if time.monotonic() - self._heard_s <= ANSWER_S else None

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            try:
                self._news = await self._ask("report", self._report())
                self._heard_s = time.monotonic()
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
            if self._governor is None:
                self._governor = await asyncio.to_thread(self._find)
            if self._governor is None:
                raise NoGovernor("the application 'scaling' does not run")
            async with asyncio.timeout(ANSWER_S):
                return await getattr(self._governor, about).remote(*arguments)
        except (RayError, TimeoutError) as error:
            self._governor = None
            raise NoGovernor(f"the governor does not answer: {type(error).__name__}") from error

    def _report(self) -> Report:
        self._sequence += 1
        age_s = time.monotonic() - self._began_s
        return Report(self._sender, self._epoch, self._sequence, age_s, self._signals.counts(), self._signals.levels())
