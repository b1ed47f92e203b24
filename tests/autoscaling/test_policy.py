import math
from collections import deque
from dataclasses import fields, replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaling.observation import Decision, Observation
from autoscaling.policy import WorkPolicy
from tests.autoscaling.fluid import STEP_S, Fluid

HOUR = round(3600 / STEP_S)  # steps
POLICY = WorkPolicy()
KNOWN = {
    "now_s",
    "running",
    "pending_ages_s",
    "draining",
    "start_s",
    "start_p99_s",
    "signal_age_s",
    "replicas_min",
    "replicas_max",
}


def after(rates: list[float], **fleet: Any) -> Fluid:
    """A fleet that has lived through these rates."""
    fluid = Fluid(POLICY, **fleet)
    deque(fluid.run(rates), maxlen=0)
    return fluid


def varied_rates(mean: float, steps: int) -> list[float]:
    random = Random(0)
    return [max(random.gauss(mean, mean / 3), 0.0) for _ in range(steps)]


@pytest.fixture(scope="module")
def calm() -> Fluid:
    return after([5.0] * HOUR, running=8)


@pytest.fixture(scope="module")
def varied() -> Fluid:
    return after(varied_rates(6, HOUR), running=8)


def decision(fluid: Fluid, **different: Any) -> Decision[Any]:
    return POLICY.decide(fluid.observation(**{"now_s": fluid.now_s + STEP_S} | different), fluid.state)


def test_constant_load_has_one_count_and_keeps_it(calm: Fluid) -> None:
    fluid = replace(calm, starting=list(calm.starting))

    counts = {each.replicas for each in fluid.run([5.0] * HOUR)}

    assert len(counts) == 1
    assert fluid.late == 0
    assert counts.pop() <= 7


@pytest.mark.parametrize("quiet_s", [0, 45, 300])
@pytest.mark.parametrize("seed", range(5))
def test_a_small_load_that_begins_needs_one_replica(quiet_s: int, seed: int) -> None:
    """Three tenths of a replica, of whole requests: what came before there was a forecast is no evidence against it."""
    random, request_s, state, wants = Random(seed), 0.4, None, []
    for second in range(quiet_s + 300):
        requests = sum(random.random() < 0.3 / request_s / 10 for _ in range(10)) if second >= quiet_s else 0
        seen = Fluid(POLICY, running=1).observation(
            now_s=1e6 + second, arrived_work_s=requests * request_s, arrived_requests=requests
        )
        decided = POLICY.decide(seen, state)
        state = decided.state
        wants.append(decided.want)
    assert max(wants) == 1


def test_a_model_that_nobody_has_asked_says_so() -> None:
    fluid = Fluid(POLICY, running=0)
    assert POLICY.decide(fluid.observation(arrived_work_s=0.0), None).reasons.words.startswith(
        "nothing has arrived yet"
    )


def test_the_promise_is_kept_through_a_day_that_triples_by_noon() -> None:
    fluid = after([4 - 2 * math.cos(step / 4 / HOUR * math.pi) for step in range(8 * HOUR)], running=3)

    assert fluid.attainment >= 0.99
    assert fluid.gpu_s <= 1.35 * fluid.requests / 10


@pytest.mark.parametrize("missing", ["arrived_work_s", "arrived_requests", "met", "missed", "backlog_work_s"])
def test_a_missing_signal_never_lowers_the_count(varied: Fluid, missing: str) -> None:
    fluid = replace(varied, state=varied.state)
    before = decision(fluid).want

    for step in range(1, HOUR // 2):
        blind = POLICY.decide(fluid.observation(now_s=fluid.now_s + step * STEP_S, **{missing: None}), fluid.state)
        fluid.state = blind.state
        if missing in {"arrived_work_s", "backlog_work_s"}:
            assert blind.want >= before
            before = blind.want
    assert blind.want >= 1


def test_with_every_signal_missing_the_count_stays(varied: Fluid) -> None:
    nothing = dict.fromkeys(name for name in (field.name for field in fields(Observation)) if name not in KNOWN)
    assert decision(varied, **nothing).want >= varied.state.want
    assert POLICY.decide(varied.observation(**nothing), None).want >= varied.running


def test_a_model_without_requests_goes_to_zero_and_comes_back_for_its_whole_backlog() -> None:
    fluid = Fluid(POLICY, running=2)
    *_, last = fluid.run([1.0] * HOUR + [0.0] * 3 * HOUR)
    assert last.replicas == 0

    burst = decision(fluid, arrived_work_s=40.0, arrived_requests=50, backlog_work_s=40.0)

    assert burst.replicas >= 4


def test_zero_waits_until_idling_has_cost_as_much_as_a_cold_start() -> None:
    fluid = Fluid(POLICY, running=2)

    *_, last = fluid.run([1.0] * HOUR + [0.0] * (HOUR - 12))

    assert last.replicas >= 1


def test_a_model_that_never_had_a_request_has_no_replica() -> None:
    *_, last = Fluid(POLICY, running=0).run([0.0] * 12)

    assert last.replicas == 0


def test_a_replica_that_keeps_failing_to_start_is_ordered_anew(varied: Fluid) -> None:
    fresh = decision(varied, pending_ages_s=(10.0,))
    stuck = decision(varied, pending_ages_s=(1000.0,))

    assert stuck.replicas == fresh.replicas + 1
    assert stuck.want == fresh.want


def test_the_pool_limits_what_a_model_gets_and_not_what_it_asks(varied: Fluid) -> None:
    limited = decision(varied, granted=2)

    assert limited.replicas == 2
    assert limited.want == decision(varied).want
    assert "pool granted 2" in limited.reasons.words


def test_the_cards_bounds_hold(varied: Fluid) -> None:
    assert decision(varied, replicas_min=40).replicas == 40
    assert decision(varied, replicas_max=3, replicas_min=1).replicas == 3


def test_a_backlog_is_said_in_words(varied: Fluid) -> None:
    late = decision(varied, backlog_work_s=141.0)

    assert "backlog 141 GPU-s needs" in late.reasons.words
    assert "within 10 s" in late.reasons.words


def test_a_new_policy_gives_nothing_back_before_it_has_seen_enough() -> None:
    counts = [each.replicas for each in Fluid(POLICY, running=9).run([1.0] * 180)]

    assert min(counts[:59]) == 9
    assert counts[-1] < 9


def test_the_benefit_of_another_replica_never_rises(varied: Fluid) -> None:
    benefits = varied.state.benefits

    assert all(first >= second >= 0 for first, second in pairwise(benefits))
    assert len(benefits) > varied.state.want


def test_state_is_constant_in_size() -> None:
    early, late = after([3.0] * 240, running=4).state, after([3.0] * 480, running=4).state

    assert early.arrivals.bins.shape == late.arrivals.bins.shape
    assert early.replay.levels.shape == late.replay.levels.shape


load = st.floats(0, 500)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    work=load, more_work=load, backlog=load, more_backlog=load, seconds=st.integers(0, 30), pending=st.integers(0, 3)
)
def test_more_load_never_means_fewer_replicas(
    varied: Fluid, work: float, more_work: float, backlog: float, more_backlog: float, seconds: int, pending: int
) -> None:
    now = {"now_s": varied.now_s + 1 + seconds, "pending_ages_s": (5.0,) * pending}

    less = decision(varied, arrived_work_s=work, backlog_work_s=backlog, **now)
    more = decision(varied, arrived_work_s=work + more_work, backlog_work_s=backlog + more_backlog, **now)

    assert more.want >= less.want
    assert more.replicas >= less.replicas


@settings(deadline=None, max_examples=30)
@given(work=st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1, max_size=80), gap_s=st.floats(0, 4000))
def test_it_answers_whatever_the_signals_are(work: list[float | None], gap_s: float) -> None:
    fluid = Fluid(POLICY, running=1)
    for second, arrived_work_s in enumerate(work):
        now_s = second + (gap_s if second > len(work) // 2 else 0.0)
        answer = POLICY.decide(fluid.observation(now_s=now_s, arrived_work_s=arrived_work_s), fluid.state)
        fluid.state = answer.state
        assert 0 <= answer.replicas <= 1_000_000
        assert all(math.isfinite(term) for term in answer.reasons.terms.values())


def test_the_same_observation_and_state_give_the_same_decision(varied: Fluid) -> None:
    first, second = decision(varied), decision(varied)

    assert (first.want, first.replicas, first.reasons, first.benefits) == (
        second.want,
        second.replicas,
        second.reasons,
        second.benefits,
    )
