"""Requests for a model of which no replica runs: they wait as long as their client says, or hear when to come again.

A waiting request is backlog, and so the governor starts replicas for all of them. None of them is with Serve meanwhile:
Serve's own rule would start a single one, and ask no policy. Where no governor answers, one request knocks there: then that
very rule starts one.
"""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from catalog.card import ModelCard
from deployments.gateway.errors import BadRequest, ModelWarming, Overloaded
from deployments.gateway.route import Router
from deployments.gateway.shares import Full, Shares
from deployments.gateway.slots import ANY
from deployments.scaling.report import News

LOOK_EVERY_S = 0.25
WAITING_MAX = 512
RETRY_AFTER_MAX_S = 120  # OpenAI's SDK gives up on a longer one
KNOCK_S = 10.0
WAIT = re.compile(r"\s*wait\s*=\s*\"?(\d{1,9})\"?\s*", re.IGNORECASE)


class Waking(Protocol):
    """Stands between arrival and queue."""

    def check(self, card: ModelCard, patience_s: float, tenant: str) -> None:
        """Raise `ModelWarming` if this would have to wait, and does not want to; or `Overloaded` if the tenant's share of the
        waiting room is taken.
        """

    async def wait(self, card: ModelCard, patience_s: float, tenant: str) -> bool:
        """Until a replica runs: whether that took any waiting. Raises as `check`, and `ModelWarming` when patience ends."""


class Knowing(Router, Protocol):
    """A router that has heard which replicas run."""

    def runs(self, card: ModelCard) -> bool:
        """Whether it knows of one of this model."""


class Awake:
    """A fleet that never sleeps."""

    def check(self, card: ModelCard, patience_s: float, tenant: str) -> None:
        """See `Waking.check`."""

    async def wait(self, card: ModelCard, patience_s: float, tenant: str) -> bool:
        """See `Waking.wait`."""
        return False


class FleetWaking:
    """`news` is what the governor says of a model; `router` knows which replicas run, as far as it was told."""

    def __init__(self, router: Knowing, news: Callable[[str], News | None]) -> None:
        self._router = router
        self._runs = router.runs
        self._news = news
        self._rooms: dict[str, Shares] = defaultdict(lambda: Shares(WAITING_MAX))
        self._knocking: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def check(self, card: ModelCard, patience_s: float, tenant: str) -> None:
        """See `Waking.check`."""
        if not self._sleeps(card):
            return
        if not patience_s:
            raise self._warming(card)
        if not self._rooms[card.id].fits(tenant):
            raise Overloaded(self._expected_s(card))

    async def wait(self, card: ModelCard, patience_s: float, tenant: str) -> bool:
        """See `Waking.wait`."""
        self.check(card, patience_s, tenant)
        if self._runs(card) or not patience_s:
            return False
        waited = self._sleeps(card)
        try:
            async with asyncio.timeout(patience_s):
                with self._rooms[card.id].held(tenant):
                    while self._sleeps(card):  # noqa: ASYNC110  # two sources say so, and only one could wake us
                        await asyncio.sleep(LOOK_EVERY_S)
                    while self._nobody_knows(card) and not await self._knocked(card):
                        waited = True
        except TimeoutError:
            raise self._warming(card) from None
        except Full:
            raise Overloaded(self._expected_s(card)) from None
        return waited

    def _sleeps(self, card: ModelCard) -> bool:
        """The governor knows that none runs, and so does this gateway."""
        news = self._news(card.served_name)
        return news is not None and news.running == 0 and not self._runs(card)

    def _nobody_knows(self, card: ModelCard) -> bool:
        """Neither this gateway nor a governor."""
        return self._news(card.served_name) is None and not self._runs(card)

    async def _knocked(self, card: ModelCard) -> bool:
        """Whether Serve opened at once, with a replica that this gateway had not heard of."""
        async with self._knocking[card.id]:
            if self._runs(card):
                return False
            with suppress(ModelWarming, Overloaded):
                async with self._router.replica(card, KNOCK_S, ANY):
                    return True
        await asyncio.sleep(LOOK_EVERY_S)
        return False

    def _warming(self, card: ModelCard) -> ModelWarming:
        return ModelWarming(self._expected_s(card))

    def _expected_s(self, card: ModelCard) -> int:
        news = self._news(card.served_name)
        expected_s = news.expected_start_s if news else ModelWarming.retry_after_s
        return max(1, min(math.ceil(expected_s), RETRY_AFTER_MAX_S))


def patience_s(prefer: str | None) -> float:
    """How long `Prefer: wait=N` (RFC 7240) lets a request wait for a model to start; 0 where it says nothing of that.

    Raises `BadRequest`.
    """
    for preference in (prefer or "").split(","):
        if preference.strip().lower().startswith("wait"):
            if not (match := WAIT.fullmatch(preference)):
                raise BadRequest("'Prefer: wait=N' takes whole seconds.", param="Prefer")
            return float(match[1])
    return 0.0
