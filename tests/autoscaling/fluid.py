"""A model of one model's fleet that is only a queue: work arrives, replicas do a second of it each second."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from autoscaling.observation import Decision, Observation, Policy

STEP_S = 5.0


@dataclass
class Fluid:
    policy: Policy
    start_s: float = 60.0
    running: int = 1
    backlog_s: float = 0.0
    now_s: float = 0.0
    state: Any = None
    starting: list[float] = field(default_factory=list)  # since when
    requests: int = 0
    late: int = 0
    gpu_s: float = 0.0
    seen: tuple[float, int, int, int] = (0.0, 0, 0, 0)

    def run(self, rates: Iterable[float]) -> Iterator[Decision[Any]]:
        """A decision every five seconds, in which work arrives at such a rate, in requests of a tenth of a second."""
        for rate in rates:
            decision = self._step(rate * STEP_S)
            self._target(decision.replicas)
            yield decision

    @property
    def attainment(self) -> float:
        return 1 - self.late / max(self.requests, 1)

    def observation(self, **different: Any) -> Observation:
        work, requests, met, missed = self.seen
        known: dict[str, Any] = {
            "now_s": self.now_s,
            "arrived_work_s": work,
            "arrived_requests": requests,
            "finished_expected_s": None,
            "finished_observed_s": None,
            "met": met,
            "missed": missed,
            "backlog_work_s": self.backlog_s,
            "oldest_wait_s": 0.0,
            "in_flight_work_s": 0.0,
            "batch_backlog_work_s": 0.0,
            "running": self.running,
            "pending_ages_s": tuple(self.now_s - since for since in self.starting),
            "start_s": self.start_s,
            "start_p99_s": self.start_s * 2,
        }
        return Observation(**known | different)

    def _step(self, work: float) -> Decision[Any]:
        self.now_s += STEP_S
        ready = [since for since in self.starting if self.now_s - since >= self.start_s]
        self.starting = self.starting[len(ready) :]
        self.running += len(ready)
        self.backlog_s = max(self.backlog_s + work - self.running * STEP_S, 0.0)
        requests, late = round(work * 10), self.backlog_s > 2 * self.running
        self.requests += requests
        self.late += requests * late
        self.seen = (work, requests, requests * (not late), requests * late)
        decision = self.policy.decide(self.observation(), self.state)
        self.state = decision.state
        return decision

    def _target(self, replicas: int) -> None:
        have = self.running + len(self.starting)
        self.starting += [self.now_s] * (replicas - have)
        for _ in range(have - replicas):
            if self.starting:
                self.starting.pop()
            else:
                self.running -= 1
        self.gpu_s += (self.running + len(self.starting)) * STEP_S
