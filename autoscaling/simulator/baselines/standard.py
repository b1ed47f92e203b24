"""The standard policies with their defaults, for a trace and a replica: what one gets who sets nothing."""

import math

import numpy as np

from autoscaling.observation import Policy
from autoscaling.simulator.baselines.hpa import Hpa
from autoscaling.simulator.baselines.kpa import Kpa
from autoscaling.simulator.baselines.static import Static
from autoscaling.simulator.run import Setup, work_s
from autoscaling.simulator.trace import Trace

KPA_SHARE = 0.7  # of what a replica can hold: Knative's `container-concurrency-target-percentage`
PEAK_LOAD = 0.7  # what people size a fixed fleet to
PEAK_S = 600.0


def standard(trace: Trace, setup: Setup) -> dict[str, Policy]:
    """By name, all but Ray's, which the core does not know."""
    return {
        "static": Static(static_peak(trace, setup)),
        "kpa": Kpa(KPA_SHARE * setup.replica.sequences),
        "hpa": Hpa(),
    }


def static_peak(trace: Trace, setup: Setup) -> int:
    """For the busiest ten minutes, which somebody has to know."""
    work = np.bincount((trace.t_s // PEAK_S).astype(np.int64), weights=work_s(trace, setup.replica))
    return max(math.ceil(float(work.max()) / min(PEAK_S, max(trace.span_s, 1.0)) / PEAK_LOAD), 1)
