"""The replica model of a real engine, from what it did under load: the step time is fitted, limits are as they are set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from autoscaling.simulator.batching import NEVER, SERVING, Cluster, Costs, advance
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Floats, Trace

TIMES = ("step_s", "sequence_s", "token_s", "vision_token_s", "request_s")
LEAST_S = 1e-9  # no time is zero: its logarithm is fitted


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One replica under one load: what was sent, and when each request had its first and its last token."""

    sent: Trace
    first_s: Floats
    finish_s: Floats

    @property
    def throughput(self) -> float:
        """Requests a second, from the first that was sent to the last that was done."""
        return len(self.sent) / float(self.finish_s.max() - self.sent.t_s[0])

    @property
    def ttft_p95_s(self) -> float:
        return float(np.percentile(self.first_s - self.sent.t_s, 95))


def simulated(model: ReplicaModel, sent: Trace) -> LoadPoint:
    """The same load on the model. A request that the model refuses is never done."""
    cluster = Cluster.of(sent, model, 1)
    cluster.replicas["status"] = SERVING
    advance(cluster, Costs.of(model, Slo()), 1, NEVER)
    return LoadPoint(sent, cluster.requests["first_s"].copy(), cluster.requests["finish_s"].copy())


def errors(model: ReplicaModel, measured: Sequence[LoadPoint]) -> Floats:
    """By point: the model's throughput and p95 TTFT less the measured, as shares of the measured."""
    model_of = [(point, simulated(model, point.sent)) for point in measured]
    return np.array(
        [
            (found.throughput / point.throughput - 1, found.ttft_p95_s / point.ttft_p95_s - 1)
            for point, found in model_of
        ]
    )


def fit(start: ReplicaModel, measured: Sequence[LoadPoint]) -> ReplicaModel:
    """From `start`'s times, by Nelder and Mead: every request's first and last token count alike, as shares of their time."""

    def model(logs: Floats) -> ReplicaModel:
        return replace(start, **dict(zip(TIMES, np.exp(logs).tolist(), strict=True)))

    def miss(logs: Floats) -> float:
        return sum(_miss(point, simulated(model(logs), point.sent)) for point in measured)

    logs = np.log([max(getattr(start, name), LEAST_S) for name in TIMES])
    simplex = np.vstack([logs, logs + np.eye(len(TIMES))])
    options = {"maxiter": 2_000, "maxfev": 2_000, "initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-5}
    return model(minimize(miss, logs, method="Nelder-Mead", options=options).x)


def _miss(measured: LoadPoint, found: LoadPoint) -> float:
    waits = np.log((found.first_s - found.sent.t_s) / (measured.first_s - measured.sent.t_s))
    whole = np.log((found.finish_s - found.sent.t_s) / (measured.finish_s - measured.sent.t_s))
    return float(np.mean(waits**2) + np.mean(whole**2))
