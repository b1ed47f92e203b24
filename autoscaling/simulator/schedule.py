"""What somebody would do who knows all arrivals: a schedule, by dynamic programming, and its search.

One replica is one layer, and each layer is on or off for itself: it pays rent while it is on, a start-up when it goes on,
and a price for each request that is late because it is off. Late requests of a moment fall convexly in the replicas that
run, so the layers' best together are the best of all: those below are on whenever one above is.
"""

from dataclasses import dataclass

import numpy as np

from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.trace import Counts, Floats, Trace

BIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """So many replicas are to run in each ten seconds; each is ordered a start-up before."""

    replicas: Counts
    start_s: float

    def decide(self, observation: Observation, state: None) -> Decision[None]:
        first = int(observation.now_s // BIN_S)
        until = int((observation.now_s + self.start_s) // BIN_S) + 1
        wanted = int(self.replicas[first:until].max()) if first < len(self.replicas) else 0
        return Decision(wanted, wanted, None, Reasons())


def best_replicas(trace: Trace, work_s: Floats, start_s: float, price_s: float, curve: MissCurve) -> Counts:
    """The cheapest schedule if a late request costs `price_s` GPU-seconds."""
    bins = int(trace.span_s // BIN_S) + 1
    at = (trace.t_s // BIN_S).astype(np.int64)
    work = np.bincount(at, weights=work_s, minlength=bins) / BIN_S
    requests = np.bincount(at, minlength=bins)
    replicas = np.arange(int(np.ceil(work.max() / curve.loads[0])) + 1)
    missed = curve.missed(work[:, None] / np.maximum(replicas, 1e-9))
    avoided = -np.sort(np.diff(missed, axis=1), axis=1)  # the first layers avoid the most
    replicas_on: Counts = _on(price_s * requests[:, None] * avoided, start_s).sum(axis=1)
    return replicas_on


def _on(penalty_s: Floats, start_s: float) -> Counts:
    """1 where a layer is on, by bin and layer. Off costs `penalty_s`, on costs rent, off to on a start; it may begin on."""
    on, off = np.zeros(penalty_s.shape[1]), np.zeros(penalty_s.shape[1])
    started, stopped = np.zeros(penalty_s.shape, bool), np.zeros(penalty_s.shape, bool)
    for moment, penalty in enumerate(penalty_s):
        started[moment] = off + start_s < on
        stopped[moment] = on < off
        on, off = np.minimum(on, off + start_s) + BIN_S, np.minimum(on, off) + penalty
    chosen = np.zeros(penalty_s.shape, np.int64)
    is_on = on < off
    for moment in range(len(penalty_s) - 1, -1, -1):
        chosen[moment] = is_on
        is_on = np.where(is_on, ~started[moment], stopped[moment])
    return chosen
