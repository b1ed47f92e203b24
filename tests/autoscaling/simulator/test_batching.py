"""Continuous batching, step by step: numbers that can be checked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaling.simulator.batching import NEVER, SERVING, Cluster, Costs, advance
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.run import work_s
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Trace

MODEL = ReplicaModel(
    step_s=0.010, sequence_s=0.001, token_s=0.0001, vision_token_s=0.0002, request_s=0.005,
    sequences=4, step_tokens=100, step_vision_tokens=100, kv_tokens=1_000,
)  # fmt: skip


def run(requests: list[tuple[float, int, int, int]], replicas: int = 1, model: ReplicaModel = MODEL) -> Cluster:
    """`requests`: when, vision tokens, text tokens, output tokens."""
    trace = Trace.of("", *(np.array(column) for column in zip(*requests, strict=True)))
    cluster = Cluster.of(trace, model, replicas)
    cluster.replicas["status"] = SERVING
    advance(cluster, Costs.of(model, Slo()), replicas, NEVER)
    return cluster


def test_a_request_alone_takes_its_prompt_and_a_step_a_token():
    """20 vision tokens at 0.3 ms, 30 of text at 0.1 ms; then two steps of 11 ms."""
    cluster = run([(1.0, 20, 30, 3)])
    first_s = 1.0 + 0.010 + 0.005 + 0.001 + 20 * 0.0003 + 30 * 0.0001
    assert cluster.requests["first_s"][0] == pytest.approx(first_s)
    assert cluster.requests["finish_s"][0] == pytest.approx(first_s + 2 * 0.011)


def test_a_long_prompt_goes_on_over_steps():
    """250 tokens of text at 100 a step: three steps."""
    cluster = run([(0.0, 0, 250, 1)])
    assert cluster.requests["first_s"][0] == pytest.approx(3 * 0.010 + 0.005 + 0.001 + 250 * 0.0001)


def test_a_prompt_slows_the_sequences_beside_it_but_for_no_longer_than_it_lasts():
    alone = run([(0.0, 0, 10, 40)]).requests["finish_s"][0]
    beside = run([(0.0, 0, 10, 40), (0.2, 90, 10, 1)]).requests["finish_s"][0]
    assert beside - alone == pytest.approx(0.005 + 0.001 + 90 * 0.0003 + 10 * 0.0001)


def test_no_more_sequences_run_than_the_limit():
    """The fifth of five begins when the first are done."""
    cluster = run([(0.0, 0, 10, 20)] * 5)
    assert cluster.requests["first_s"][4] > cluster.requests["finish_s"][0]


def test_what_could_never_be_held_is_refused_and_holds_up_nobody():
    cluster = run([(0.0, 0, 2_000, 1), (0.0, 0, 10, 1)])
    assert cluster.requests["finish_s"][0] == NEVER
    assert cluster.requests["finish_s"][1] < 1


def test_the_least_loaded_replica_takes_a_request():
    cluster = run([(0.0, 0, 10, 50), (0.0, 0, 10, 50)], replicas=2)
    assert cluster.requests["finish_s"][0] == pytest.approx(cluster.requests["finish_s"][1])


sizes = st.tuples(st.floats(0, 20), st.integers(0, 400), st.integers(0, 400), st.integers(1, 150))


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=60), st.integers(1, 3))
def test_no_replica_does_more_than_a_second_of_work_a_second(
    requests: list[tuple[float, int, int, int]], replicas: int
):
    """What makes the lower bound a bound; and all that arrives is served."""
    cluster = run(requests, replicas)
    served = cluster.requests
    assert (served["finish_s"] < NEVER).all()
    trace = Trace.of("", served["t_s"], served["vision"], served["text"], served["output"])
    busy_s = served["finish_s"].max() - served["t_s"].min()
    assert work_s(trace, MODEL).sum() <= replicas * busy_s + 1e-6
    assert (served["first_s"] > served["t_s"]).all()
    assert cluster.replicas["kv"].sum() == cluster.replicas["held_tokens"].sum() == 0


def test_time_may_be_cut_anywhere():
    """Advancing by the second comes to the same as all at once."""
    requests = [(index * 0.37, index * 13 % 300, 50, index * 7 % 90 + 1) for index in range(80)]
    whole = run(requests, replicas=2)
    trace = Trace.of("", *(np.array(column) for column in zip(*requests, strict=True)))
    cut = Cluster.of(trace, MODEL, 2)
    cut.replicas["status"] = SERVING
    for second in range(200):
        advance(cut, Costs.of(MODEL, Slo()), 2, float(second))
    np.testing.assert_array_equal(whole.requests["finish_s"], cut.requests["finish_s"])
