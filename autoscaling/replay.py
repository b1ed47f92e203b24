"""What every candidate would have done to the arrivals of the last day: each forecast, with each margin.

Arrivals do not depend on the fleet, so all candidates are tried on the same work at once, and none at a risk: a queue
for each, served by as many replicas as it would have had one start-up later. The cheapest that would have kept the
promise is the one to follow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoscaling.arrival import BIN_S
from autoscaling.budget import Seen
from autoscaling.config import Config

Floats = NDArray[np.float64]
EPSILON = 1e-9
MANY = 1e6  # replicas, before there is a forecast


@lru_cache
def margins(config: Config) -> Floats:
    """What a forecast is multiplied by: fine near 1, coarser above."""
    growth = config.margin_growth - 1
    steps = math.log1p((config.margin_max - config.margin_min) * growth / config.margin_step) / math.log1p(growth)
    powers = np.power(config.margin_growth, np.arange(math.ceil(steps) + 1, dtype=np.float64))
    grid: Floats = config.margin_min + config.margin_step * (powers - 1) / growth
    return grid


@dataclass(frozen=True, slots=True)
class Moment:
    """What the forecasts hold at the end of `span_s`, and what a candidate has to reckon with."""

    levels: Floats  # [forecast]
    deviation: float
    span_s: float
    start_s: float
    late_share: float  # of requests that may be late


@dataclass(frozen=True, slots=True)
class Replay:
    """Arrays are [forecast, margin], unless said. Sums fade with the configuration's memory."""

    levels: Floats  # [forecast, bin]: held during the last start-up, newest last
    asked: Floats  # replicas
    running: Floats  # replicas
    backlog_s: Floats
    late: Floats  # requests
    cost_s: Floats  # replica-seconds
    choice: int  # of forecast x margin
    requests: float = 0.0
    work_s: float = 0.0
    unrest_s: float = 0.0  # deviation of the work rate, times time
    span_s: float = 0.0

    @classmethod
    def none(cls, config: Config) -> Self:
        """Nobody is late before there is a forecast to go by."""
        shape = (len(config.forecasts), margins(config).size)
        none, one = np.zeros(shape), np.ones(shape)
        first = config.first_forecast * shape[1] + int(np.argmax(margins(config) >= config.first_margin))
        return cls(none[:, :0], one, one * MANY, none, none, none, choice=first)

    @property
    def request_s(self) -> float:
        """Work of a request, on average; a second until there was one."""
        return self.work_s / self.requests if self.requests else 1.0

    def chosen(self, config: Config) -> tuple[int, float]:
        """Which forecast, and its margin."""
        forecast, margin = divmod(self.choice, margins(config).size)
        return forecast, float(margins(config)[margin])

    def arrive(self, seconds: Sequence[Seen], slack_s: float) -> Self:
        """A request is late if what stands before it takes longer than `slack_s`."""
        work_s, requests, span_s = np.array([(seen.work_s, seen.requests, seen.span_s) for seen in seconds]).T
        # A queue that is never below zero: its work without that bound, less the lowest this has been.
        unbound_s = self.backlog_s + np.cumsum(work_s[:, None, None] - span_s[:, None, None] * self.running, axis=0)
        backlog_s = unbound_s - np.minimum(np.minimum.accumulate(unbound_s, axis=0), 0.0)
        late = np.tensordot(requests, backlog_s > slack_s * self.running, axes=1)
        return replace(
            self,
            backlog_s=backlog_s[-1],
            late=self.late + late,
            requests=self.requests + float(requests.sum()),
            work_s=self.work_s + float(work_s.sum()),
        )

    def close(self, moment: Moment, config: Config) -> Self:
        """Each candidate asks for what its forecast holds; what it asks for runs a start-up later, if it still does."""
        last = self.levels[:, -round(moment.start_s / BIN_S) :] if moment.start_s >= BIN_S else self.levels[:, :0]
        levels = np.concatenate([last, moment.levels[:, None]], axis=1)
        asked = _replicas(moment.levels, config)
        fade = math.exp(-moment.span_s / config.memory_s)
        starts_s = np.maximum(asked - self.asked, 0.0) * config.wear_s
        later = replace(
            self,
            levels=levels,
            asked=asked,
            running=_replicas(levels.min(axis=1), config),
            late=fade * self.late,
            cost_s=fade * self.cost_s + asked * moment.span_s + starts_s,
            requests=fade * self.requests,
            work_s=fade * self.work_s,
            unrest_s=fade * self.unrest_s + moment.deviation * moment.span_s,
            span_s=fade * self.span_s + moment.span_s,
        )
        return replace(later, choice=later.cheapest(moment.late_share, config))

    def late_share(self, config: Config) -> Floats:
        """Of requests, by candidate. Where history is short, a guess: the less it spends on unrest, the more is late."""
        work_s = max(self.work_s, EPSILON)
        spare = np.maximum(self.cost_s / work_s - 1, 0.0)
        guess = np.exp(-spare / (config.guess_spread + config.guess_unrest * self.unrest_s / work_s))
        weight = config.guess_s / max(self.span_s, EPSILON)
        shares: Floats = (self.late / max(self.requests, EPSILON) + weight * guess) / (1 + weight)
        return shares

    def cheapest(self, late_share: float, config: Config) -> int:
        """Of those that keep the promise; if none does, the one that is late least. A change has to pay."""
        late = self.late_share(config).ravel()
        cost_s = np.where(late <= late_share, self.cost_s.ravel(), np.inf)
        best = int(cost_s.argmin())
        if cost_s[best] == np.inf:
            return int(late.argmin())
        return self.choice if cost_s[self.choice] <= cost_s[best] * (1 + config.switch) else best


def _replicas(levels: Floats, config: Config) -> Floats:
    replicas: Floats = np.maximum(np.ceil(margins(config) * levels[:, None] - EPSILON), 1.0)
    return replicas
