"""The replicas of one model, from order to the end of their drain: what Serve and the cloud do with a target."""

import math
from dataclasses import dataclass, field

import numpy as np

from autoscaling.simulator.batching import DRAINED, DRAINING, FREE, SERVING, Cluster


@dataclass(frozen=True, slots=True)
class Start:
    """How long a replica takes to be ready: log-normal around its median. A start that fails takes as long."""

    median_s: float = 120.0
    sigma: float = 0.1
    failures: float = 0.01

    def p(self, z: float) -> float:
        """The quantile that is `z` deviations above the median."""
        return self.median_s * math.exp(self.sigma * z)


@dataclass(frozen=True, slots=True)
class Order:
    """A replica that is starting."""

    at_s: float
    ready_s: float
    fails: bool


@dataclass(slots=True)
class Fleet:
    """Places in the cluster, and orders. A pool limit counts whatever holds a GPU: running, starting, draining."""

    cluster: Cluster
    start: Start
    rng: np.random.Generator
    limit: int
    orders: list[Order] = field(default_factory=list)
    starts: int = 0
    failed: int = 0
    places: int = 1  # that have ever been used
    running: int = 0
    drains: int = 0

    @property
    def draining(self) -> int:
        return self.drains - int(self.cluster.counts[DRAINED])

    def warm(self, count: int) -> None:
        """`count` replicas run already."""
        for _ in range(min(count, self.limit)):
            self._run()

    def tick(self, now_s: float) -> None:
        """Those whose start has ended run, or have failed."""
        ready = [order for order in self.orders if order.ready_s <= now_s]
        if not ready:
            return
        self.orders = [order for order in self.orders if order.ready_s > now_s]
        for order in ready:
            if order.fails:
                self.failed += 1
            else:
                self._run()

    def target(self, count: int, now_s: float) -> None:
        """Order or give up replicas until `count` run or start: starting ones are given up first, then the newest."""
        have = self.running + len(self.orders)
        room = self.limit - have - self.draining
        for _ in range(min(count - have, room)):
            self._order(now_s)
        for _ in range(have - count):
            if self.orders:
                self.orders.pop()
            else:
                self._drain()

    def ages_s(self, now_s: float) -> tuple[float, ...]:
        return tuple(now_s - order.at_s for order in self.orders)

    def _order(self, now_s: float) -> None:
        takes_s = self.start.p(self.rng.standard_normal())
        self.orders.append(Order(now_s, now_s + takes_s, bool(self.rng.random() < self.start.failures)))
        self.starts += 1

    def _run(self) -> None:
        status = self.cluster.replicas["status"]
        place = int(np.flatnonzero(status == FREE)[0])
        status[place] = SERVING
        self.cluster.replicas["since"][place] = self.starts
        self.places = max(self.places, place + 1)
        self.running += 1

    def _drain(self) -> None:
        """The newest, as Serve does where nodes are alike."""
        replicas = self.cluster.replicas
        serving = np.flatnonzero(replicas["status"] == SERVING)
        place = int(serving[replicas["since"][serving].argmax()])
        idle = replicas["batch"][place] + replicas["held"][place] == 0
        replicas["status"][place] = FREE if idle else DRAINING
        self.running -= 1
        self.drains += not idle
