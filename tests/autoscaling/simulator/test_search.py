"""The order of things: a bound, the best schedule, and then every policy."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from autoscaling.observation import Policy
from autoscaling.policy import WorkPolicy
from autoscaling.simulator.baselines.hpa import Hpa
from autoscaling.simulator.baselines.kpa import Kpa
from autoscaling.simulator.baselines.static import Static
from autoscaling.simulator.bound import lower_bound_gpu_hours
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.schedule import BIN_S, Foreknown, in_service
from autoscaling.simulator.search import best, best_schedule, tuned
from deployments.scaling.ray_default import ServeDefault
from tests.autoscaling.simulator.test_run import SURE, burst, steady

TARGET = SURE.slo.target


def starting_in(start_s: float) -> Setup:
    return replace(SURE, start=Start(start_s, sigma=0.0, failures=0.0))


@pytest.fixture(scope="module", params=[10.0, 120.0])
def setup(request: pytest.FixtureRequest) -> Setup:
    return starting_in(request.param)


@pytest.fixture(scope="module")
def schedule(setup: Setup) -> Result:
    found = best(best_schedule(burst(), setup), TARGET)
    assert found is not None
    return found.result


def test_the_bound_is_below_the_best_schedule(setup: Setup, schedule: Result):
    bound = lower_bound_gpu_hours(burst(), work_s(burst(), setup.replica), setup.slo, setup.start.median_s)
    assert bound <= schedule.gpu_hours


@pytest.mark.parametrize(
    ("policy", "cheapest", "dearest"),
    [(lambda value: Static(round(value)), 1, 20), (ServeDefault, 16, 1), (Kpa, 16, 1), (Hpa, 0.9, 0.2)],
    ids=["static", "serve", "kpa", "hpa"],
)
def test_no_standard_policy_is_below_the_best_schedule_even_in_hindsight(
    setup: Setup, schedule: Result, policy: Callable[[float], Policy], cheapest: float, dearest: float
):
    tried = tuned(lambda value: simulate(burst(), policy(value), setup), cheapest, dearest, TARGET)
    assert all(one.result.gpu_hours >= schedule.gpu_hours for one in tried if one.result.attainment >= TARGET)


def test_ours_is_not_below_the_best_schedule_where_it_keeps_the_promise(setup: Setup, schedule: Result):
    ours = simulate(burst(), WorkPolicy(), setup)
    assert ours.attainment < TARGET or ours.gpu_hours >= schedule.gpu_hours


@dataclass(frozen=True, slots=True)
class Flown:
    gpu_hours: float
    attainment: float


@pytest.mark.parametrize("knee", [12.0, 30.0, 70.0])
def test_a_search_comes_near_the_cheapest_value_that_meets_the_target(knee: float):
    def run(value: float) -> Flown:
        return Flown(value, 1 - 0.01 * (knee / value) ** 4)

    found = best(tuned(run, 10, 100, 0.99, steps=4), 0.99)
    assert found is not None
    assert knee <= found.value <= 1.1 * knee


def test_a_search_goes_down_as_well_as_up():
    """Utilisation: the lower, the dearer."""

    def run(value: float) -> Flown:
        return Flown(1 / value, 1 - 0.01 * (value / 0.6) ** 4)

    found = best(tuned(run, 0.9, 0.2, 0.99, steps=4), 0.99)
    assert found is not None
    assert 0.54 <= found.value <= 0.6


def test_where_nothing_meets_the_target_nothing_is_the_best():
    assert best(tuned(lambda value: Flown(value, 0.5), 10, 100, 0.99), 0.99) is None


def test_work_in_service_is_all_the_work_there_is():
    trace = steady(5.0)
    load = in_service(trace, SURE.replica)
    assert load.sum() * BIN_S == pytest.approx(work_s(trace, SURE.replica).sum())


def test_a_dearer_late_request_never_makes_more_of_them():
    trace = burst()
    curve = MissCurve.of(trace, work_s(trace, SURE.replica), SURE.replica, SURE.slo)
    known = Foreknown.of(trace, SURE.replica, curve)
    late = [known.late(known.cheapest(price_s, 120.0)) for price_s in (3.0, 30.0, 300.0, 3_000.0)]
    assert (np.diff(late) <= 1e-9).all()
    assert late[0] > late[-1]
