"""What somebody would do who knows all arrivals: a schedule, by dynamic programming.

One replica is one layer, and each layer is on or off for itself: it pays rent while it is on, a start-up when it goes on,
and a price for each request that is late because it is off. Late requests of a moment fall convexly in the replicas that
run, so the layers' best together are the best of all: those below are on whenever one above is.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.simulator.compiled import compiled
from autoscaling.simulator.misses import MissCurve
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.trace import Counts, Floats, Trace

BIN_S = 10.0
CHEAPEST_S, DEAREST_S = 1.0, 1e5  # GPU-seconds for a late request
HALVINGS = 12


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


@dataclass(frozen=True, slots=True)
class Foreknown:
    """A trace as one sees it who knows all arrivals. Late requests are those of a steady load: `curve`."""

    requests: Counts  # by bin
    load: Floats  # by bin: work in service, in replicas
    avoided: Floats  # by bin and layer: requests that are not late because it is on
    curve: MissCurve

    @classmethod
    def of(cls, trace: Trace, model: ReplicaModel, curve: MissCurve) -> Self:
        load = in_service(trace, model)
        requests = np.bincount((trace.t_s // BIN_S).astype(np.int64), minlength=len(load))
        replicas = np.arange(int(np.ceil(load.max() / curve.loads[0])) + 1)
        late = requests[:, None] * curve.missed(load[:, None] / np.maximum(replicas, 1e-9))
        return cls(requests, load, -np.sort(np.diff(late, axis=1), axis=1), curve)  # the first layers avoid the most

    def cheapest(self, price_s: float, start_s: float) -> Counts:
        """Replicas by bin, if a late request costs `price_s` GPU-seconds."""
        replicas: Counts = _on(price_s * self.avoided, start_s).sum(axis=1)
        return replicas

    def missing(self, share: float, start_s: float) -> tuple[float, Counts]:
        """The price at which no more than `share` is expected to be late, and the schedule of that price."""
        low, high = CHEAPEST_S, DEAREST_S
        replicas = self.cheapest(high, start_s)
        for _ in range(HALVINGS):
            price_s = (low * high) ** 0.5
            tried = self.cheapest(price_s, start_s)
            if self.late(tried) > share:
                low = price_s
            else:
                high, replicas = price_s, tried
        return high, replicas

    def late(self, replicas: Counts) -> float:
        """The share of requests that is expected to be late."""
        shares = self.curve.missed(self.load / np.maximum(replicas, 1e-9))
        return float((self.requests * shares).sum() / self.requests.sum())


def in_service(trace: Trace, model: ReplicaModel) -> Floats:
    """Replicas' worth of work by bin: a prompt's for as long as one replica takes for it, then its answer's in a full batch."""
    work = model.work
    prompt_s = np.asarray(
        work.request_s + work.vision_token_s * trace.vision_tokens + work.text_token_s * trace.text_tokens, np.float64
    )
    answer_s = np.asarray(work.output_token_s * trace.output_tokens, np.float64)
    pace_s = model.step_s + model.sequence_s * model.sequences
    first_s = trace.t_s + prompt_s
    last_s = np.asarray(first_s + pace_s * trace.output_tokens, np.float64)
    bins = int(trace.span_s // BIN_S) + 1
    load: Floats = (_spread(prompt_s, trace.t_s, first_s, bins) + _spread(answer_s, first_s, last_s, bins)) / BIN_S
    return load


def _spread(work_s: Floats, begin_s: Floats, end_s: Floats, bins: int) -> Floats:
    """Alike over all bins that an interval touches; what is beyond the last is in the last."""
    first = np.minimum(begin_s // BIN_S, bins - 1).astype(np.int64)
    last = np.minimum(end_s // BIN_S, bins - 1).astype(np.int64)
    each_s = work_s / (last - first + 1)
    change = np.bincount(first, each_s, bins + 1) - np.bincount(last + 1, each_s, bins + 1)
    return np.cumsum(change)[:bins]


@compiled
def _on(penalty_s: Floats, start_s: float) -> Counts:
    """1 where a layer is on, by bin and layer. Off costs `penalty_s`, on costs rent, off to on a start; it may begin on."""
    bins, layers = penalty_s.shape
    chosen = np.zeros((bins, layers), np.int64)
    started, stopped = np.zeros(bins, np.bool_), np.zeros(bins, np.bool_)
    for layer in range(layers):
        on_s, off_s = 0.0, 0.0
        for moment in range(bins):
            started[moment] = off_s + start_s < on_s
            stopped[moment] = on_s < off_s
            on_s, off_s = min(on_s, off_s + start_s) + BIN_S, min(on_s, off_s) + penalty_s[moment, layer]
        is_on = on_s < off_s
        for moment in range(bins - 1, -1, -1):
            chosen[moment, layer] = is_on
            is_on = not started[moment] if is_on else stopped[moment]
    return chosen
