"""What a policy sees of a model: flows since it last looked, levels as they were a moment ago."""

from collections import deque
from dataclasses import dataclass, field
from typing import Self

from autoscaling.simulator import batching as at
from autoscaling.simulator.batching import Cluster
from autoscaling.simulator.fleet import Fleet
from autoscaling.simulator.seen import Seen

P90, P99 = 1.2816, 2.3263  # deviations of a normal distribution


@dataclass(frozen=True, slots=True)
class Reading:
    """Gateways' counters at one moment."""

    counts: list[int]
    sums: list[float]
    oldest_wait_s: float

    @classmethod
    def of(cls, cluster: Cluster, now_s: float) -> Self:
        counts, sums = cluster.counts.tolist(), cluster.sums.tolist()
        queued = counts[at.ARRIVED] > counts[at.TAKEN]
        oldest_s = now_s - float(cluster.requests["t_s"][counts[at.TAKEN]]) if queued else 0.0
        return cls(counts, sums, oldest_s)


@dataclass(slots=True)
class Signals:
    """Counters as they were `age_s` ago; what Serve knows of its own replicas is never old."""

    cluster: Cluster
    fleet: Fleet
    age_s: float
    period_s: float
    readings: deque[Reading] = field(default_factory=deque)
    last: Reading | None = None

    def read(self, now_s: float) -> Seen:
        self.readings.append(Reading.of(self.cluster, now_s))
        late = round(self.age_s / self.period_s)
        reading = self.readings.popleft() if len(self.readings) > late else self.readings[0]
        last, self.last = self.last or reading, reading
        counts, sums = reading.counts, reading.sums
        queued = counts[at.ARRIVED] - counts[at.TAKEN]
        observed_s = sums[at.OBSERVED_S] - last.sums[at.OBSERVED_S]
        running, start = self.fleet.running, self.fleet.start
        return Seen(
            now_s=now_s,
            arrived_work_s=sums[at.ARRIVED_S] - last.sums[at.ARRIVED_S],
            arrived_requests=counts[at.ARRIVED] - last.counts[at.ARRIVED],
            finished_expected_s=sums[at.EXPECTED_S] - last.sums[at.EXPECTED_S],
            finished_observed_s=observed_s,
            met=counts[at.MET] - last.counts[at.MET],
            missed=counts[at.MISSED] - last.counts[at.MISSED],
            backlog_work_s=max(sums[at.BACKLOG_S], 0.0) if queued else 0.0,
            oldest_wait_s=reading.oldest_wait_s,
            in_flight_work_s=max(sums[at.IN_FLIGHT_S], 0.0),
            batch_backlog_work_s=0.0,
            running=running,
            pending_ages_s=self.fleet.ages_s(now_s),
            draining=self.fleet.draining,
            start_s=start.p(P90),
            start_p99_s=start.p(P99),
            granted=self.fleet.limit,
            replicas_max=self.fleet.limit,
            signal_age_s=self.age_s,
            ongoing=counts[at.ARRIVED] - counts[at.REFUSED] - counts[at.FINISHED],
            queued=queued,
            utilisation=observed_s / (running * self.period_s) if running else 0.0,
        )
