"""What one decision depends on, all of it, and the decision: a row has the same facts, and so the same answer."""

import math
from dataclasses import dataclass

from autoscaling import backlog, zero
from autoscaling.arrival import blend
from autoscaling.config import Config
from autoscaling.forecast import Forecast

NEVER_S = 1e9  # idle for longer than anything has run: nothing has arrived yet
EPSILON = 1e-9  # of a replica: rounding is no reason for one more


@dataclass(frozen=True, slots=True)
class Facts:
    """Rates and levels are replicas' worth of work: replica-seconds a second, corrected."""

    rate_1m: float
    rate_5m: float
    rate_15m: float
    deviation: float
    season: float  # the highest rate of the next start-up, on days before
    deviations: float  # how many of them the forecast adds
    seasonal: bool  # whether the forecast goes by the season
    hold_s: float
    held: float  # the forecast's highest level in the last `hold_s`
    margin: float
    backlog_s: float
    oldest_wait_s: float
    correction: float
    running: int
    pending: int
    overdue: int  # of those pending
    draining: int
    idle_s: float
    start_s: float
    attainment: float
    late_share: float  # of requests, that the choice of forecast and margin allowed
    blind: bool  # arrivals or backlog are not known
    new: bool  # too little has been seen to give anything back
    last_want: int
    replicas_min: int
    replicas_max: int
    granted: int | None
    signal_age_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Terms in replicas. `want` is asked of the pool; `replicas` may run or start, an overdue start among them."""

    arrival: float
    backlog: float
    floor: int
    want: int
    replicas: int


def answer(facts: Facts, config: Config) -> Answer:
    """`want` is the arrival's and the backlog's replicas together, and never less than the floor."""
    forecast = Forecast(facts.deviations, facts.hold_s, facts.seasonal)
    rate = blend((facts.rate_1m, facts.rate_5m, facts.rate_15m))
    arrival = facts.margin * max(forecast.level(rate, facts.deviation, facts.season), facts.held)
    late = backlog.replicas(facts.backlog_s, facts.running, config.slack_s, config.drain_s)
    last = zero.floor(facts.idle_s, facts.start_s, facts.attainment, config)
    if not last and arrival <= 1:
        arrival = 0.0  # what is left of it is the memory of a deviation
    floor = max(facts.replicas_min, last)
    want = max(math.ceil(arrival + late - EPSILON), floor)
    if facts.blind:
        want = max(want, facts.last_want)
    if facts.new:
        want = max(want, facts.running + facts.pending)
    want = min(want, facts.replicas_max)
    granted = facts.replicas_max if facts.granted is None else facts.granted
    return Answer(arrival, late, floor, want, min(want + facts.overdue, granted, facts.replicas_max))
