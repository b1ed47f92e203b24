"""Serve's side, with Serve's own context object; the governor is a queue of answers."""

from collections import deque

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from deployments.apps import POLICY
from deployments.scaling import policy as policy_module
from deployments.scaling.policy import QUIET_S, SILENT_S, ScalingPolicy
from deployments.scaling.replicas import Serving

DEPLOYMENT = DeploymentID("Engine-demo", "model-demo")


def context(running: int = 1, target: int = 1, requests: float = 0.0) -> AutoscalingContext:
    replicas = [ReplicaID(f"r{index}", DEPLOYMENT) for index in range(running)]
    config = AutoscalingConfig(min_replicas=0, max_replicas=8, target_ongoing_requests=4)
    return AutoscalingContext(
        DEPLOYMENT, DEPLOYMENT.name, DEPLOYMENT.app_name, running, target, replicas, lambda: requests, 0.0,
        None, None, 0, 8, {}, None, None, None, config,
    )  # fmt: skip


class Played:
    """An `Exchange` that answers what it is given; `asked` is what it was told."""

    def __init__(self) -> None:
        self.answers: deque[int | Exception | None] = deque()
        self.asked: list[Serving] = []

    def ask(self, model: str, serving: Serving, now_s: float) -> bool:
        self.asked.append(serving)
        return True

    def answer(self, now_s: float) -> int | None:
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(policy_module, "time", clock)
    return clock


@pytest.fixture
def governor() -> Played:
    return Played()


@pytest.fixture
def policy(governor: Played, clock: Clock) -> ScalingPolicy:
    return ScalingPolicy("demo", governor)


def test_the_governors_answer_is_the_decision(policy: ScalingPolicy, governor: Played):
    governor.answers.append(3)
    assert policy(context())[0] == 3


def test_the_governor_is_asked_once_a_second_and_its_answer_kept_meanwhile(policy, governor, clock):
    governor.answers.append(3)
    decided = []
    for tick in range(30):
        clock.s = 1000.0 + tick / 10
        decided.append(policy(context())[0])
    assert decided == [3] * 30
    assert len(governor.asked) == 3


def test_the_governor_hears_what_serve_knows(policy: ScalingPolicy, governor: Played):
    policy(context(running=2, target=3))
    (told,) = governor.asked
    assert told.running == ("SERVE_REPLICA::model-demo#Engine-demo#r0", "SERVE_REPLICA::model-demo#Engine-demo#r1")
    assert (told.target, told.replicas_min, told.replicas_max) == (3, 0, 8)


def test_a_governor_that_knows_nothing_yet_changes_nothing(policy: ScalingPolicy, governor: Played):
    governor.answers.append(None)
    assert policy(context(running=2, target=2))[0] == 2


@pytest.mark.parametrize("error", [RuntimeError("died"), OSError("gone"), KeyError("x")])
def test_it_never_raises_and_holds_what_there_is(policy: ScalingPolicy, governor: Played, error: Exception):
    governor.answers.append(error)
    replicas, state = policy(context(running=2, target=3))
    assert replicas == 3
    assert type(error).__name__ in state["reason"]


def test_a_metric_that_cannot_be_read_is_no_reason_to_raise(policy: ScalingPolicy):
    broken = context(running=2, target=2)
    broken._total_num_requests_value = lambda: 1 / 0
    assert policy(broken)[0] == 2


def test_a_governor_that_falls_silent_counts_for_a_while_then_nothing_is_lowered(policy, governor, clock):
    governor.answers.append(5)
    assert policy(context(target=1))[0] == 5
    clock.s += SILENT_S
    assert policy(context(running=5, target=5))[0] == 5
    clock.s += 1.0
    assert policy(context(running=5, target=5))[0] == 5


@pytest.mark.parametrize(("requests", "target", "replicas"), [(0.0, 0, 0), (1.0, 0, 1), (9.0, 1, 3), (1.0, 2, 2)])
def test_without_a_governor_requests_at_once_decide_and_only_upwards(policy, requests, target, replicas):
    assert policy(context(running=target, target=target, requests=requests))[0] == replicas


def test_without_a_governor_one_is_given_back_after_a_long_quiet(policy: ScalingPolicy, clock: Clock):
    decided = []
    for _ in range(3):
        decided.append(policy(context(running=3, target=3, requests=1.0))[0])
        clock.s += QUIET_S
    assert decided == [3, 2, 2]


def test_a_busy_moment_begins_the_quiet_anew(policy: ScalingPolicy, clock: Clock):
    for requests in (1.0, 12.0, 1.0):
        assert policy(context(running=3, target=3, requests=requests))[0] == 3
        clock.s += QUIET_S - 1


def test_serve_can_build_it_from_its_name():
    """Serve imports the name, pickles the class by value, and builds it with names only."""
    named = AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"model": "demo"})
    built = named.get_policy()(**named.policy_kwargs)
    assert built.__class__.__name__ == "ScalingPolicy"
