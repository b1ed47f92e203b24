"""A whole run: rent, promises, starts."""

from dataclasses import replace

import numpy as np
import pytest

from autoscaling.simulator.baselines.standard import standard
from autoscaling.simulator.baselines.static import Static
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.run import Setup, simulate
from autoscaling.simulator.schedule import Schedule
from autoscaling.simulator.trace import Trace
from deployments.scaling.ray_default import ServeDefault

SURE = Setup(start=Start(120.0, sigma=0.0, failures=0.0))


def steady(per_second: float, span_s: float = 1800.0, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    t_s = np.sort(rng.random(int(per_second * span_s))) * span_s
    sizes = (rng.integers(0, 1_200, len(t_s)), rng.integers(10, 500, len(t_s)), rng.integers(1, 200, len(t_s)))
    return Trace.of("steady", t_s, *sizes)


def burst() -> Trace:
    calm, busy = steady(2.0), steady(12.0, span_s=600.0, seed=1)
    both = [np.concatenate(fields) for fields in zip(_fields(calm), _fields(busy), strict=True)]
    return Trace.of("burst", np.concatenate([calm.t_s, busy.t_s + 600.0]), *both)


def _fields(trace: Trace) -> tuple[np.ndarray, ...]:
    return trace.vision_tokens, trace.text_tokens, trace.output_tokens


def test_rent_runs_from_the_order_to_the_end():
    """Four replicas for as long as the trace lasts; those that were not there at first take 120 s that are paid for."""
    result = simulate(steady(2.0), Static(4), SURE)
    assert result.gpu_hours == pytest.approx(4 * 0.5, rel=0.01)


def test_enough_replicas_keep_every_promise_and_too_few_do_not():
    assert simulate(steady(4.0), Static(6), SURE).attainment > 0.99
    assert simulate(steady(4.0), Static(1), SURE).attainment < 0.2


def test_a_run_is_the_same_every_time_and_another_seed_is_another_run():
    setup = replace(SURE, start=Start(60.0, sigma=0.5, failures=0.2))
    policy = standard(burst(), setup)["kpa"]
    one, again = simulate(burst(), policy, setup), simulate(burst(), policy, setup)
    other = simulate(burst(), policy, replace(setup, seed=1))
    assert one.summary() == again.summary() != other.summary()


def test_failed_starts_are_paid_for_and_ordered_again():
    result = simulate(steady(2.0), Static(12), replace(SURE, start=Start(60.0, failures=0.5)))
    assert result.failed_starts > 0
    assert result.series.running[-1] + result.series.starting[-1] == 12


def test_the_pool_is_never_exceeded():
    result = simulate(burst(), Static(40), replace(SURE, limit=5))
    assert result.series.rented.max() == 5


def test_a_drained_replica_serves_what_it_has():
    """From six replicas to one in the middle: nothing is lost."""
    result = simulate(steady(3.0), Schedule(np.array([6] * 90 + [2] * 91), 0.0), SURE)
    assert np.isfinite(result.ttft_s).all()
    assert result.series.draining.max() > 0


@pytest.mark.parametrize("name", ["kpa", "hpa", "serve"])
def test_each_standard_policy_follows_the_load(name: str):
    policy = ServeDefault() if name == "serve" else standard(burst(), SURE)[name]
    running = simulate(burst(), policy, SURE).series.rented
    assert running[900:1200].max() > 2 * running[300:600].mean()
