"""What a run came to."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from autoscaling.simulator.batching import Cluster
from autoscaling.simulator.fleet import Fleet
from autoscaling.simulator.kept import Kept
from autoscaling.simulator.seen import Seen
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Counts, Floats, Trace

HOUR_S = 3600.0
RARE = 100  # an hour with fewer arrivals has no attainment worth the name


@dataclass(frozen=True, slots=True)
class Series:
    """A row a tick."""

    running: Counts
    starting: Counts
    draining: Counts
    queued: Counts
    arrived_work_s: Floats
    backlog_work_s: Floats

    @classmethod
    def of(cls, ticks: int) -> Self:
        running, starting, draining, queued = (np.zeros(ticks, np.int64) for _ in range(4))
        return cls(running, starting, draining, queued, np.zeros(ticks), np.zeros(ticks))

    def __len__(self) -> int:
        return len(self.running)

    def note(self, tick: int, seen: Seen, fleet: Fleet) -> None:
        """As it is after the decision."""
        self.running[tick] = fleet.running
        self.starting[tick] = len(fleet.orders)
        self.draining[tick] = fleet.draining
        self.queued[tick] = seen.queued
        self.arrived_work_s[tick] = seen.arrived_work_s
        self.backlog_work_s[tick] = seen.backlog_work_s

    @property
    def rented(self) -> Counts:
        return self.running + self.starting + self.draining


@dataclass(frozen=True, slots=True)
class Result:
    """`attainment` and `worst_hour` are shares of arrivals, refused and unanswered ones included."""

    trace: str
    requests: int
    span_s: float
    gpu_hours: float
    attainment: float
    worst_hour: float
    ttft_attainment: float
    tpot_attainment: float
    wait_p99_s: float
    starts: int
    failed_starts: int
    starts_per_hour: float
    usd_per_1k_images: float
    replicas_mean: float
    replicas_peak: int
    usd: float
    series: Series
    t_s: Floats  # by request, as are the next two
    met: Counts  # 0 or 1
    ttft_s: Floats

    @classmethod
    def of(
        cls,
        trace: Trace,
        slo: Slo,
        cluster: Cluster,
        series: Series,
        fleet: Fleet,
        period_s: float,
        usd_per_hour: float,
    ) -> Self:
        kept = Kept.of(cluster, slo)
        met = kept.met
        gpu_hours = float(series.rented.sum()) * period_s / HOUR_S
        hours = max(trace.span_s / HOUR_S, 1e-9)
        return cls(
            trace=trace.name,
            requests=len(trace),
            span_s=trace.span_s,
            gpu_hours=gpu_hours,
            attainment=float(met.mean()) if len(trace) else 1.0,
            worst_hour=_worst_hour(trace.t_s, met),
            ttft_attainment=float(kept.in_time.mean()) if len(trace) else 1.0,
            tpot_attainment=float(kept.fluent.mean()) if len(trace) else 1.0,
            wait_p99_s=float(np.percentile(kept.ttft_s, 99, method="lower")) if len(trace) else 0.0,
            starts=fleet.starts,
            failed_starts=fleet.failed,
            starts_per_hour=fleet.starts / hours,
            usd_per_1k_images=usd_per_hour * gpu_hours / trace.images * 1000 if trace.images else 0.0,
            replicas_mean=float(series.rented.mean()),
            replicas_peak=int(series.rented.max()),
            usd=usd_per_hour * gpu_hours,
            series=series,
            t_s=trace.t_s,
            met=met.astype(np.int64),
            ttft_s=kept.ttft_s,
        )

    def summary(self) -> dict[str, Any]:
        """All but what there is of each request and each second."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in {"series", "met", "t_s", "ttft_s"}
        }


def _worst_hour(t_s: Floats, met: Counts) -> float:
    hour = (t_s // HOUR_S).astype(np.int64)
    arrived = np.bincount(hour)
    busy = arrived >= RARE
    if not busy.any():
        return float(met.mean()) if len(met) else 1.0
    return float((np.bincount(hour, weights=met)[busy] / arrived[busy]).min())
