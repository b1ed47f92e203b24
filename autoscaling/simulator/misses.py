"""How many requests miss their SLO at a steady load: what a replica is good for, as opposed to what it can do."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from autoscaling.simulator.batching import NEVER, SERVING, Cluster, Costs, advance
from autoscaling.simulator.kept import Kept
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Floats, Trace

REPLICAS = 16
REQUESTS = 20_000
LOADS = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.3)


@dataclass(frozen=True, slots=True)
class MissCurve:
    """The share that misses, by load: work that arrives, of what replicas can do."""

    loads: Floats
    shares: Floats

    def missed(self, load: Floats) -> Floats:
        """Beyond the last load that was tried all miss."""
        return np.interp(load, self.loads, self.shares, right=1.0)

    @classmethod
    def of(cls, trace: Trace, work_s: Floats, model: ReplicaModel, slo: Slo, seed: int = 0) -> Self:
        """Measured: this trace's requests in random order, Poisson arrivals, sixteen replicas."""
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(trace), REQUESTS)
        gaps = rng.exponential(size=REQUESTS) * work_s[chosen].mean() / REPLICAS
        vision, text, output = trace.vision_tokens[chosen], trace.text_tokens[chosen], trace.output_tokens[chosen]
        shares = [
            _missed(Trace.of(trace.name, np.cumsum(gaps) / load, vision, text, output), model, slo) for load in LOADS
        ]
        return cls(np.array(LOADS), np.maximum.accumulate(shares))


def _missed(trace: Trace, model: ReplicaModel, slo: Slo) -> float:
    cluster = Cluster.of(trace, model, REPLICAS)
    cluster.replicas["status"] = SERVING
    advance(cluster, Costs.of(model, slo), REPLICAS, NEVER)
    return 1 - float(Kept.of(cluster, slo).met.mean())
