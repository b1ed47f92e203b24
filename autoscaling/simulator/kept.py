"""Which requests got what they were promised."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from autoscaling.simulator.batching import Cluster
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Floats


@dataclass(frozen=True, slots=True)
class Kept:
    """By request. One that was refused or never answered has kept nothing."""

    ttft_s: Floats
    in_time: Any  # booleans
    fluent: Any

    @property
    def met(self) -> Any:
        return self.in_time & self.fluent

    @classmethod
    def of(cls, cluster: Cluster, slo: Slo) -> Self:
        requests = cluster.requests
        ttft_s = requests["first_s"] - requests["t_s"]
        in_time = ttft_s <= slo.ttft_s + slo.ttft_s_per_vision_token * requests["vision"]
        with np.errstate(invalid="ignore"):  # never answered: infinite less infinite
            fluent = requests["finish_s"] - requests["first_s"] <= slo.tpot_s * (requests["output"] - 1)
        return cls(ttft_s, in_time, fluent)
