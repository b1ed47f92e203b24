"""The best of a family, in hindsight: the fewest GPU-hours at which the SLO's target is met on this trace."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoscaling.observation import Policy
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.schedule import Schedule, best_replicas
from autoscaling.simulator.trace import Trace

CHEAPEST_S, DEAREST_S = 0.2, 2000.0  # GPU-seconds for a late request


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


def best_schedule(trace: Trace, setup: Setup, *, steps: int = 6) -> list[Tried]:
    """Schedules that know all arrivals, by the price of a late request. Their starts take the median and never fail."""
    clairvoyant = replace(setup, start=Start(setup.start.median_s, sigma=0.0, failures=0.0))
    work = work_s(trace, setup.replica)
    curve = MissCurve.of(trace, work, setup.replica, setup.slo)

    def schedule(price_s: float) -> Policy:
        return Schedule(best_replicas(trace, work, setup.start.median_s, price_s, curve), setup.start.median_s)

    return tuned(trace, schedule, CHEAPEST_S, DEAREST_S, clairvoyant, steps=steps)
