"""One trace, one policy, one model: what would have happened."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoscaling.observation import Policy
from autoscaling.simulator.batching import Cluster, Costs, advance
from autoscaling.simulator.fleet import Fleet, Start
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.result import Result, Series
from autoscaling.simulator.signals import Signals
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Trace

WARM_S = 600.0  # the fleet at the first moment fits the work of this long
WARM_LOAD = 0.8
PATIENCE_S = 3600.0  # after the last arrival


@dataclass(frozen=True, slots=True)
class Setup:
    """All but the trace and the policy. `start.sigma` and `start.failures` at 0: every start takes its median."""

    replica: ReplicaModel = field(default_factory=ReplicaModel.read)
    slo: Slo = field(default_factory=Slo)
    start: Start = field(default_factory=Start)
    limit: int = 512  # GPUs in the pool
    period_s: float = 1.0
    signal_age_s: float = 1.0
    seed: int = 0
    usd_per_gpu_hour: float = 2.0


def simulate(trace: Trace, policy: Policy, setup: Setup | None = None) -> Result:
    """Run the trace to its end and until all that was queued is answered. Rent is counted to the last arrival."""
    setup = setup or Setup()
    cluster = Cluster.of(trace, setup.replica, setup.limit)
    costs = Costs.of(setup.replica, setup.slo)
    fleet = Fleet(cluster, setup.start, np.random.default_rng(setup.seed), setup.limit)
    fleet.warm(_warm(trace, setup.replica))
    signals = Signals(cluster, fleet, setup.signal_age_s, setup.period_s)
    series = Series.of(math.ceil(trace.span_s / setup.period_s) + 1)
    state: Any = None
    for tick in range(len(series)):
        now_s = tick * setup.period_s
        advance(cluster, costs, fleet.places, now_s)
        fleet.tick(now_s)
        seen = signals.read(now_s)
        decision = policy.decide(seen, state)
        state = decision.state
        fleet.target(decision.replicas, now_s)
        series.note(tick, seen, fleet)
    advance(cluster, costs, fleet.places, trace.span_s + PATIENCE_S)
    return Result.of(trace, setup.slo, cluster, series, fleet, setup.period_s, setup.usd_per_gpu_hour)


def _warm(trace: Trace, model: ReplicaModel) -> int:
    """A fleet that has seen the first minutes' work: nobody's start counts, neither a policy's nor the bound's."""
    soon = trace.t_s < WARM_S
    rate = float(work_s(trace, model)[soon].sum()) / max(min(WARM_S, trace.span_s), 1.0)
    return math.ceil(rate / WARM_LOAD)


def work_s(trace: Trace, model: ReplicaModel) -> Any:
    """Replica-seconds of each request at full load, with the output that it had."""
    work = model.work
    return (
        work.request_s
        + work.vision_token_s * trace.vision_tokens
        + work.text_token_s * trace.text_tokens
        + work.output_token_s * trace.output_tokens
    )
