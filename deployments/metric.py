"""What is measured, declared as data: instruments are made of it, and `docs/metrics.md` is tested against it.

Ray's agent on the node exports what a process records here, with the prefix `ray_`, and `_total` behind a counter's name.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ray.serve import metrics

SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]


@dataclass(frozen=True, slots=True)
class Metric:
    """A series for each combination of its labels' values. `means` ends with a full stop."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    means: str

    @property
    def exported_name(self) -> str:
        """As Prometheus knows it, when it comes from Ray's exporter."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


class Instruments:
    """Records of one process. Values of labels are given in the order in which the metric declares them.

    Counts are kept here until `flush`: on a request's path, adding to a dictionary costs a hundredth of what Ray's own
    counter does. A process that is killed takes what it has not flushed with it; money is counted by the ledger alone.
    """

    def __init__(self, table: Iterable[Metric]) -> None:
        table = tuple(table)
        self._counts: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        self._counters = {
            each: metrics.Counter(each.name, each.means, tag_keys=each.labels)
            for each in table
            if each.kind == "counter"
        }
        self._gauges = {
            each: metrics.Gauge(each.name, each.means, tag_keys=each.labels) for each in table if each.kind == "gauge"
        }
        self._histograms = {
            each: metrics.Histogram(each.name, each.means, boundaries=SECONDS, tag_keys=each.labels)
            for each in table
            if each.kind == "histogram"
        }

    def count(self, metric: Metric, amount: int, *labels: str) -> None:
        """Add to a counter, as of the next `flush`."""
        self._counts[metric, labels] += amount

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add one value to a histogram."""
        self._histograms[metric].observe(seconds, tags=dict(zip(metric.labels, labels, strict=True)))

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._gauges[metric].set(value, tags=dict(zip(metric.labels, labels, strict=True)))

    def flush(self) -> None:
        """Hand the counts on to Ray."""
        counts, self._counts = self._counts, Counter()
        for (metric, labels), amount in counts.items():
            if amount:  # Ray refuses to count by 0
                self._counters[metric].inc(amount, tags=dict(zip(metric.labels, labels, strict=True)))
