"""Knative's autoscaler (KPA) on concurrency, with the defaults of its `config-autoscaler` (v1.15)."""

import math
from collections import deque
from dataclasses import dataclass, field

from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.simulator.seen import Seen

TICK_S = 2.0
STABLE_S = 60
PANIC_S = 6
PANIC = 2.0  # times what the running replicas hold
MAX_UP = 1000.0
MAX_DOWN = 2.0


@dataclass(slots=True)
class KpaState:
    readings: deque[int] = field(default_factory=lambda: deque(maxlen=STABLE_S))
    ticked_s: float = -math.inf
    panic_s: float | None = None  # when it was last seen
    panic_replicas: int = 0
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class Kpa:
    """`target` is the requests that a replica is to hold: by default 70 % of what it can (`containerConcurrency`)."""

    target: float

    def decide(self, observation: Observation, state: KpaState | None) -> Decision[KpaState]:
        state = state or KpaState()
        seen = observation
        if not isinstance(seen, Seen):
            raise TypeError("KPA goes by concurrency, which only the simulator shows")
        state.readings.append(seen.ongoing)
        if seen.now_s - state.ticked_s >= TICK_S:
            state.ticked_s = seen.now_s
            state.replicas = self._ticked(seen, state)
        return Decision(state.replicas, state.replicas, state, Reasons({"ongoing": seen.ongoing}))

    def _ticked(self, seen: Seen, state: KpaState) -> int:
        ready = max(seen.running, 1)
        stable = self._wanted(state.readings, ready)
        panic = self._wanted(list(state.readings)[-PANIC_S:], ready)
        if panic >= PANIC * ready:
            state.panic_s = seen.now_s
        elif state.panic_s is not None and seen.now_s - state.panic_s > STABLE_S:
            state.panic_s, state.panic_replicas = None, 0
        if state.panic_s is None:
            return stable
        state.panic_replicas = max(state.panic_replicas, stable, panic)
        return state.panic_replicas

    def _wanted(self, readings: "deque[int] | list[int]", ready: int) -> int:
        wanted = math.ceil(sum(readings) / len(readings) / self.target)
        return int(min(max(wanted, ready // MAX_DOWN), ready * MAX_UP))
