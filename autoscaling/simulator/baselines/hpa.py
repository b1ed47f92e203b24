"""Kubernetes' Horizontal Pod Autoscaler on utilisation, with the defaults of its documentation (v2, 1.30).

Utilisation here is work done, of what running replicas could do. That is kind to it: a GPU's own counter reads 100 %
with a single request.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.simulator.seen import Seen

SYNC_S = 15.0
WINDOW_S = 60  # that the metric is a mean of
TOLERANCE = 0.1
STABLE_S = 300.0  # the highest advice of so long counts on the way down
STEP = 4  # in 15 s, at most so many more or twice as many


@dataclass(slots=True)
class HpaState:
    readings: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW_S))
    advice: deque[tuple[float, int]] = field(default_factory=deque)
    synced_s: float = -math.inf
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Hpa:
    """`target` is the utilisation that it holds: 0.8 is what Kubernetes takes if nothing is said."""

    target: float = 0.8

    def decide(self, observation: Observation, state: HpaState | None) -> Decision[HpaState]:
        state = state or HpaState()
        seen = observation
        if not isinstance(seen, Seen):
            raise TypeError("HPA goes by utilisation, which only the simulator shows")
        have = seen.running + len(seen.pending_ages_s)
        state.readings.append(seen.utilisation)
        if state.replicas is None:
            state.replicas = max(have, 1)
        if seen.now_s - state.synced_s >= SYNC_S:
            state.synced_s = seen.now_s
            state.replicas = self._synced(seen, state, have)
        return Decision(state.replicas, state.replicas, state, Reasons({"utilisation": seen.utilisation}))

    def _synced(self, seen: Seen, state: HpaState, have: int) -> int:
        mean = sum(state.readings) / len(state.readings)
        ratio = mean / self.target
        advice = max(have, 1)
        if abs(ratio - 1) > TOLERANCE:
            advice = self._advice(seen, ratio, mean, have)
        state.advice.append((seen.now_s, advice))
        while state.advice[0][0] < seen.now_s - STABLE_S:
            state.advice.popleft()
        wanted = advice if advice > have else min(have, max(number for _, number in state.advice))
        return max(1, min(wanted, max(2 * have, have + STEP)))

    def _advice(self, seen: Seen, ratio: float, mean: float, have: int) -> int:
        """Replicas that are not ready count as idle on the way up."""
        if ratio < 1 or not seen.pending_ages_s:
            return math.ceil(seen.running * ratio)
        ratio = mean * seen.running / have / self.target
        return math.ceil(have * ratio) if ratio > 1 + TOLERANCE else have
