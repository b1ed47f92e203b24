"""A plain work-rate policy: the mean of five minutes, so many deviations above it, and what is late already."""

import math
from collections import deque
from dataclasses import dataclass, field

from autoscaling.observation import Decision, Observation, Reasons

MINUTE_S = 60


@dataclass(slots=True)
class RateState:
    last: deque[float] = field(default_factory=lambda: deque(maxlen=5 * MINUTE_S))
    below_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    z: float = 2.0
    drain_s: float = 20.0
    down_s: float = 120.0

    def decide(self, observation: Observation, state: RateState | None) -> Decision[RateState]:
        state = state or RateState()
        state.last.append(observation.arrived_work_s or 0.0)
        long = sum(state.last) / len(state.last)
        recent = list(state.last)[-MINUTE_S:]
        short = sum(recent) / len(recent)
        spread = math.sqrt(max(long, short))
        backlog = (observation.backlog_work_s or 0.0) / self.drain_s
        want = math.ceil(max(long, short) + self.z * spread + backlog)
        have = observation.running + len(observation.pending_ages_s)
        state.below_s = 0.0 if want >= have else state.below_s + 1.0
        replicas = want if want >= have or state.below_s >= self.down_s else have
        return Decision(want, replicas, state, Reasons({"long": long, "short": short, "backlog": backlog}))
