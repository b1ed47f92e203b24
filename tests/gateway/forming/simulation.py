"""Hours of load in seconds: an event loop whose time passes only when nothing is left to do, and a model of an engine."""

import asyncio
import random
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from catalog.card import Slo
from deployments.gateway.errors import Overloaded
from deployments.gateway.forming import Demand, Former

T = TypeVar("T")

THUMBNAIL, PAGE = 20, 1250
PAGE_SHARE = 0.1
TOKENS_PER_S = 2000.0
DECODE_S = 0.3
RUNNING_MAX = 64


class _Selector(selectors.SelectSelector):
    """Waits for nothing; what it should have waited is the loop's."""

    loop: "Loop"

    def select(self, timeout: float | None = None) -> list[Any]:
        self.loop.now_s += timeout or 0.0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """Its clock jumps from one event to the next."""

    def __init__(self) -> None:
        self.now_s = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


def simulated(work: Coroutine[Any, Any, T]) -> T:
    loop = Loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    demand: Demand
    due_s: float
    ttft_s: float | None  # None: refused

    def is_good(self, slo: Slo) -> bool:
        return self.ttft_s is not None and 1000 * self.ttft_s <= slo.answer_ms(self.demand.vision_tokens, 1)


class Engine:
    """Prompts one after the other, at a steady pace; then some decoding, beside others. `forms`: behind a `Former`."""

    def __init__(self, *, forms: bool) -> None:
        loop = asyncio.get_running_loop()
        self.slo = Slo()
        self._former = Former(self.slo, RUNNING_MAX, lambda: 1, loop.time)
        if not forms:
            self._former._has_room = lambda *, is_batch: True  # type: ignore[method-assign]  # as if there were none
        self._prefill = asyncio.Lock()

    async def ask(self, demand: Demand, due_s: float) -> Outcome:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(due_s - loop.time())
        try:
            self._former.check_room(demand)
            async with self._former.turn(demand, 600.0) as turn:
                async with self._prefill:
                    await asyncio.sleep(demand.tokens / TOKENS_PER_S)
                turn.began()
                ttft_s = loop.time() - due_s
                await asyncio.sleep(DECODE_S)
        except Overloaded:
            return Outcome(demand, due_s, None)
        return Outcome(demand, due_s, ttft_s)


def arrivals(load: float, seconds: float, *, seed: int = 1, tenant: str = "a") -> list[tuple[Demand, float]]:
    """A Poisson process of thumbnails and pages, at so much of what the engine can do."""
    chance = random.Random(seed)
    mean_tokens = THUMBNAIL + PAGE_SHARE * (PAGE - THUMBNAIL)
    due_s, all_ = 0.0, []
    while (due_s := due_s + chance.expovariate(load * TOKENS_PER_S / mean_tokens)) < seconds:
        tokens = PAGE if chance.random() < PAGE_SHARE else THUMBNAIL
        all_.append((Demand(tenant, tokens, vision_tokens=tokens), due_s))
    return all_


async def run(asks: list[tuple[Demand, float]], *, forms: bool) -> list[Outcome]:
    engine = Engine(forms=forms)
    return list(await asyncio.gather(*(engine.ask(demand, due_s) for demand, due_s in asks)))


def percentile_s(outcomes: list[Outcome], share: float) -> float:
    """Of those that were answered; nearest rank."""
    ordered = sorted(one.ttft_s for one in outcomes if one.ttft_s is not None)
    return ordered[int(share * len(ordered))]
