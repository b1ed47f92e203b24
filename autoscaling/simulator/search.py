"""The best of a family, in hindsight: the fewest GPU-hours at which the SLO's target is met on this trace."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoscaling.observation import Policy
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.schedule import BIN_S, Foreknown, Schedule
from autoscaling.simulator.trace import Trace

CLOSE = 0.97  # of the late requests that are allowed: no more is worth another run
FARTHEST = 4.0  # times what was expected, from one run to the next


@dataclass(frozen=True, slots=True)
class Tried:
    """A value of a policy's parameter, and what it came to."""

    value: float
    result: Result


def tuned(
    trace: Trace, policy: Callable[[float], Policy], low: float, high: float, setup: Setup, *, steps: int = 6
) -> list[Tried]:
    """Bisection in the logarithm between `low`, which misses the target, and `high`, which meets it: every value tried.

    The last that meets the target is the best of the family; where none does, none is.
    """
    tried = [Tried(high, simulate(trace, policy(high), setup))]
    if tried[0].result.attainment < setup.slo.target:
        return tried
    for _ in range(steps):
        value = (low * high) ** 0.5
        result = simulate(trace, policy(value), setup)
        tried.append(Tried(value, result))
        low, high = (low, value) if result.attainment >= setup.slo.target else (value, high)
    return tried


def best(tried: list[Tried], target: float) -> Tried | None:
    met = [one for one in tried if one.result.attainment >= target]
    return min(met, key=lambda one: one.result.gpu_hours, default=None)


def best_schedule(trace: Trace, setup: Setup, *, steps: int = 4) -> list[Tried]:
    """Schedules that know all arrivals, by the price of a late request, each run on the replicas that policies get.

    How many are late is expected from a steady load; from run to run the expectation is set right by what was seen.
    Starts take the median and never fail. Nothing is decided within a bin, so one look at each is enough.
    """
    clairvoyant = replace(setup, start=Start(setup.start.median_s, sigma=0.0, failures=0.0), period_s=BIN_S)
    curve = MissCurve.of(trace, work_s(trace, setup.replica), setup.replica, setup.slo)
    known = Foreknown.of(trace, setup.replica, curve)
    allowed = 1 - setup.slo.target
    tried: list[Tried] = []
    share = allowed
    for _ in range(steps):
        price_s, replicas = known.missing(share, setup.start.median_s)
        result = simulate(trace, Schedule(replicas, setup.start.median_s), clairvoyant)
        tried.append(Tried(price_s, result))
        late = max(1 - result.attainment, 1e-6)
        if CLOSE * allowed <= late <= allowed:
            break
        share *= min(max((1 + CLOSE) / 2 * allowed / late, 1 / FARTHEST), FARTHEST)
    return tried
