"""Observed against expected work of what finished: the cost model may be stale, or an engine new."""

import math
from dataclasses import dataclass
from typing import Self

from autoscaling.config import Config


@dataclass(frozen=True, slots=True)
class Correction:
    """Replica-seconds, fading with the work that is done."""

    expected_s: float = 0.0
    observed_s: float = 0.0

    def then(self, expected_s: float | None, observed_s: float | None, config: Config) -> Self:
        if not expected_s or not observed_s:
            return self
        fade = math.exp(-expected_s / config.correction_memory_s)
        return type(self)(fade * self.expected_s + expected_s, fade * self.observed_s + observed_s)

    def factor(self, config: Config) -> float:
        """1 until a memory's worth of work speaks against it."""
        doubt_s = max(config.correction_memory_s - self.expected_s, 0.0)
        ratio = (self.observed_s + doubt_s) / (self.expected_s + doubt_s)
        return min(max(ratio, config.correction_min), config.correction_max)
