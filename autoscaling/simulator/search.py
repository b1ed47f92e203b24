"""The best of a family, in hindsight: the fewest GPU-hours at which the SLO's target is met on this trace."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from autoscaling.simulator.fleet import Start
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.schedule import BIN_S, Foreknown, Schedule
from autoscaling.simulator.trace import Trace

CLOSE = 0.97  # of the late requests that are allowed: no more is worth another run
FARTHEST = 4.0  # times what was expected, from one run to the next
EDGE = 0.15  # of an interval: no guess is nearer to its ends
LEAST = 1e-6  # late, so that it has a logarithm


class Outcome(Protocol):
    """What of a run a search goes by."""

    @property
    def gpu_hours(self) -> float: ...
    @property
    def attainment(self) -> float: ...


R = TypeVar("R", bound=Outcome)


@dataclass(frozen=True, slots=True)
class Tried(Generic[R]):
    """A value of a policy's parameter, and what it came to."""

    value: float
    result: R

    @property
    def late(self) -> float:
        return max(1 - self.result.attainment, LEAST)


def tuned(
    run: Callable[[float], R], cheapest: float, dearest: float, target: float, *, steps: int = 4
) -> list[Tried[R]]:
    """From `cheapest`, taken to keep no promise, to `dearest`: every value tried, each where the two nearest say it is met.

    The cheapest run that meets the target is the best of the family; where none does, none is.
    """
    tried = [Tried(dearest, run(dearest))]
    if tried[0].result.attainment < target:
        return tried
    low, high = math.log(cheapest), math.log(dearest)
    for _ in range(steps):
        share = (_met_at(tried, CLOSE * (1 - target), (low + high) / 2) - low) / (high - low)
        value = math.exp(low + min(max(share, EDGE), 1 - EDGE) * (high - low))
        tried.append(Tried(value, run(value)))
        if tried[-1].result.attainment >= target:
            high = math.log(value)
        else:
            low = math.log(value)
    return tried


def _met_at(tried: Sequence[Tried[R]], late: float, middle: float) -> float:
    """The logarithm of a value, on the straight line through the two nearest in a plane of logarithms; first the middle."""
    if len(tried) < 2:
        return middle
    near, other = sorted(tried, key=lambda one: abs(math.log(one.late / late)))[:2]
    if near.late == other.late:
        return middle
    slope = math.log(near.value / other.value) / math.log(near.late / other.late)
    return math.log(near.value) + slope * math.log(late / near.late)


def best(tried: Sequence[Tried[R]], target: float) -> Tried[R] | None:
    met = [one for one in tried if one.result.attainment >= target]
    return min(met, key=lambda one: one.result.gpu_hours, default=None)


def best_schedule(trace: Trace, setup: Setup, *, steps: int = 4) -> list[Tried[Result]]:
    """Schedules that know all arrivals, by the price of a late request, each run on the replicas that policies get.

    How many are late is expected from a steady load; from run to run the expectation is set right by what was seen.
    Starts take the median and never fail. Nothing is decided within a bin, so one look at each is enough.
    """
    clairvoyant = replace(setup, start=Start(setup.start.median_s, sigma=0.0, failures=0.0), period_s=BIN_S)
    curve = MissCurve.of(trace, work_s(trace, setup.replica), setup.replica, setup.slo)
    known = Foreknown.of(trace, setup.replica, curve)
    allowed = 1 - setup.slo.target
    tried: list[Tried[Result]] = []
    share = allowed
    for _ in range(steps):
        price_s, replicas = known.missing(share, setup.start.median_s)
        result = simulate(trace, Schedule(replicas, setup.start.median_s), clairvoyant)
        tried.append(Tried(price_s, result))
        late = tried[-1].late
        if CLOSE * allowed <= late <= allowed:
            break
        share *= min(max((1 + CLOSE) / 2 * allowed / late, 1 / FARTHEST), FARTHEST)
    return tried
