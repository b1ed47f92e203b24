"""Who gets the GPUs: the asks of all models in, grants out. Pure, and made anew each time: nothing is remembered.

Floors come first. Then replica by replica to the ask whose next one avoids most violations for its money, times its
priority, until GPUs or dollars end: as no replica is worth more than the one before it, no other order does better
among replicas of one size. Batch-class work lives on what is left. What that gives to somebody is granted when it is
free: a GPU on its way from one model to another still runs or drains at the first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from autoscaling.ask import Ask, Grant
from autoscaling.offer import Offer


class DoesNotFit(ValueError):
    """The floors of all models together are more than the pool."""


@dataclass(frozen=True, slots=True)
class Pool:
    """GPUs by type, and what they may cost together; None: no ceiling."""

    gpus: Mapping[str, int]
    hourly_nano_usd: int | None = None


class Left:
    """What is left of a pool. Below zero where more is in use than there is: a node was lost."""

    def __init__(self, pool: Pool) -> None:
        self._gpus = Counter(pool.gpus)
        self._ceiling = pool.hourly_nano_usd is not None
        self._nano_usd = pool.hourly_nano_usd or 0

    def fits(self, offer: Offer) -> bool:
        paid = not self._ceiling or self._nano_usd >= offer.hourly_nano_usd
        return paid and self._gpus[offer.gpu] >= offer.gpus

    def take(self, offer: Offer, count: int = 1) -> Self:
        """`count` replicas; below zero gives back."""
        self._gpus[offer.gpu] -= offer.gpus * count
        self._nano_usd -= offer.hourly_nano_usd * count
        return self


def check(pool: Pool, floors: Iterable[tuple[Offer, int]]) -> None:
    """Raises DoesNotFit if these floors cannot all hold at once: when a card is deployed."""
    left = Left(pool)
    for offer, floor in floors:
        for _ in range(floor):
            if not left.fits(offer):
                raise DoesNotFit(f"the models' floors together need more {offer.gpu} GPUs or dollars than the pool has")
            left.take(offer)


def share(pool: Pool, asks: Sequence[Ask]) -> dict[str, Grant]:
    """A grant for each model that asks. Raises DoesNotFit."""
    asks = sorted(asks, key=lambda ask: ask.model)
    due, batch = entitled(pool, asks)
    now = _free_now(pool, asks, {ask.model: due[ask.model] + batch[ask.model] for ask in asks})
    return {
        ask.model: Grant(min(due[ask.model], now[ask.model]), max(now[ask.model] - due[ask.model], 0)) for ask in asks
    }


def entitled(pool: Pool, asks: Sequence[Ask]) -> tuple[dict[str, int], dict[str, int]]:
    """What each model is to have when all that drains is gone: its replicas, and those for its batch class."""
    check(pool, ((ask.offer, ask.floor) for ask in asks))
    left = Left(pool)
    due = {ask.model: ask.floor for ask in asks}
    for ask in asks:
        left.take(ask.offer, ask.floor)
    wanted = {ask.model: ask.most for ask in asks}
    _grow(left, asks, due, wanted)
    _calm(left, asks, due)
    _grow(left, asks, due, wanted)  # what calm has left over
    all_of_it = dict(due)
    _grow(left, asks, all_of_it, {ask.model: due[ask.model] + ask.batch for ask in asks})
    return due, {model: all_of_it[model] - due[model] for model in due}


def _grow(left: Left, asks: Sequence[Ask], have: dict[str, int], most: Mapping[str, int]) -> None:
    """One replica after the other, each to the ask where it is worth most; of equals to the one that has less."""
    open_asks = list(asks)
    while open_asks := [ask for ask in open_asks if have[ask.model] < most[ask.model] and left.fits(ask.offer)]:
        best = max(open_asks, key=lambda ask: (ask.worth(have[ask.model]), ask.priority, -have[ask.model]))
        have[best.model] += 1
        left.take(best.offer)


def _calm(left: Left, asks: Sequence[Ask], due: dict[str, int]) -> None:
    """Who would lose replicas before a start has paid off keeps them, unless a floor or a higher priority needs them."""
    for loser in sorted(asks, key=lambda ask: -ask.priority):
        keeps = min(loser.want, loser.holding) if loser.unpaid else 0
        while due[loser.model] < keeps:
            if not left.fits(loser.offer):
                gainers = [ask for ask in asks if _may_yield(ask, loser, due)]
                if not gainers:
                    break
                least = min(gainers, key=lambda ask: ask.worth(due[ask.model] - 1))
                due[least.model] -= 1
                left.take(least.offer, -1)
                continue
            due[loser.model] += 1
            left.take(loser.offer)


def _may_yield(gainer: Ask, loser: Ask, due: Mapping[str, int]) -> bool:
    """What a model of no higher priority would get on top of its floor and of what it holds."""
    new = due[gainer.model] > max(gainer.floor, gainer.holding)
    return new and gainer.priority <= loser.priority and gainer.offer.gpu == loser.offer.gpu


def _free_now(pool: Pool, asks: Sequence[Ask], due: Mapping[str, int]) -> dict[str, int]:
    """Nobody has more than is due, nor more than what it holds and what is free: used by nobody, nor draining."""
    left = Left(pool)
    for ask in asks:
        left.take(ask.offer, ask.holding + ask.draining)
    now = {ask.model: min(due[ask.model], ask.holding) for ask in asks}
    below_floor = {ask.model: max(min(ask.floor, due[ask.model]), now[ask.model]) for ask in asks}
    _grow(left, asks, now, below_floor)
    _grow(left, asks, now, due)
    return now
