"""The replicas of one model, as Serve tells of them: who runs, who starts and since when, who drains. Pure."""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

STARTS_KEPT = 50
START_P99_FACTOR = 2.5  # of the card's start-up time, before there are starts to go by


@dataclass(frozen=True, slots=True)
class Serving:
    """What Serve's controller says: names of the actors that run, how many there are to be, and the card's bounds."""

    running: tuple[str, ...]
    target: int
    replicas_min: int
    replicas_max: int


@dataclass(frozen=True, slots=True)
class Stages:
    """What a replica itself knows of its start: fetching weights, and from then until its engine was ready."""

    weights_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """One start, from its order. `environment_s` is what came before the replica's own code: a node, a process, imports."""

    at_s: float
    total_s: float
    stages: Stages | None = None

    @property
    def environment_s(self) -> float | None:
        return max(self.total_s - self.stages.weights_s - self.stages.ready_s, 0.0) if self.stages else None

    def told(self) -> dict[str, float | None]:
        """By stage; what the replica did not tell is None."""
        return {
            "at_s": self.at_s,
            "total_s": self.total_s,
            "environment_s": self.environment_s,
            "weights_s": self.stages.weights_s if self.stages else None,
            "ready_s": self.stages.ready_s if self.stages else None,
        }


class Replicas:
    """`start_s` is the card's start-up time, until there are starts to go by."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._ordered_s: list[float] = []  # of those that start, oldest first
        self._since_s: dict[str, float] = {}  # of those that run
        self._stages: dict[str, Stages] = {}
        self._seen_s = -math.inf
        self.serving: Serving | None = None
        self.draining: set[str] = set()
        self.starts: deque[Start] = deque(maxlen=STARTS_KEPT)

    def see(self, serving: Serving, now_s: float) -> None:
        """Serve has said how things stand."""
        is_first, self.serving, self._seen_s = self.serving is None, serving, now_s
        gone = self._since_s.keys() - set(serving.running)
        self.draining = (self.draining | gone) - set(serving.running)
        for name in gone:
            del self._since_s[name]
        for name in serving.running:
            if name not in self._since_s:
                self._since_s[name] = -math.inf if is_first else now_s
                self._start_is_over(name, now_s)
        pending = max(serving.target - len(serving.running), 0)
        self._ordered_s = [*self._ordered_s, *[now_s] * pending][:pending]

    def started(self, name: str, stages: Stages) -> None:
        """A replica has told how it started; before or after Serve knows that it runs."""
        self._stages[name] = stages
        while len(self._stages) > STARTS_KEPT:
            del self._stages[next(iter(self._stages))]

    def exist(self, names: Collection[str]) -> None:
        """Of all actors these exist: what drained and does not is gone, and its GPU free."""
        self.draining &= set(names)

    def age_s(self, now_s: float) -> float:
        """Since Serve was last heard of."""
        return now_s - self._seen_s

    def pending_ages_s(self, now_s: float) -> tuple[float, ...]:
        return tuple(now_s - ordered_s for ordered_s in self._ordered_s)

    def unpaid(self, now_s: float) -> bool:
        """Whether one has not run yet as long as it took to start."""
        return bool(self._ordered_s) or any(now_s - since_s < self.start_s for since_s in self._since_s.values())

    @property
    def start_s(self) -> float:
        """p90 of the recent starts."""
        return self._quantile(0.9) if self.starts else self._start_s

    @property
    def start_p99_s(self) -> float:
        return max(self._quantile(0.99) if self.starts else 0.0, START_P99_FACTOR * self._start_s)

    def expected_s(self, now_s: float) -> float:
        """Until the next replica runs."""
        return max(self.start_s - max(self.pending_ages_s(now_s), default=0.0), 1.0)

    def _start_is_over(self, name: str, now_s: float) -> None:
        if self._ordered_s:
            self.starts.append(Start(now_s, now_s - self._ordered_s.pop(0), self._stages.pop(name, None)))

    def _quantile(self, share: float) -> float:
        totals_s = sorted(start.total_s for start in self.starts)
        return totals_s[math.ceil(share * len(totals_s)) - 1]
