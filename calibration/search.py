"""Which rate to offer next. Pure: the measured points decide.

The rate doubles while the SLO is kept (halves while it is not), then the gap between the best and the worst is divided
by geometric means until it is narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from loadtests.record import Record
from loadtests.slo import Slo, verdict
from loadtests.summary import percentile


class NoRate(Exception):
    """The SLO was not kept at the lowest rate that is tried, or still at the highest. The message says which."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """In images a second. The search ends when the lowest rate that failed is at most `ratio` times the best that did not."""

    start: float = 1.0
    lowest: float = 1 / 64
    highest: float = 4096.0
    ratio: float = 1.1


@dataclass(frozen=True, slots=True)
class Point:
    """One step: `rate` images a second were offered, and `goodput` of them were answered within the SLO.

    `ended_per_s` is how fast answers ended: below `rate` while a queue grows that the SLO does not show yet. Times are of whole answers, in milliseconds, and None if there were none; `lag_p99_ms` is how late the load generator itself was.
    """

    rate: float
    goodput: float
    kept: bool
    ended_per_s: float
    ttft_p95_ms: float | None
    tpot_p95_ms: float | None
    lag_p99_ms: float

    @property
    def images_per_s(self) -> float:
        """Only images that were answered within the SLO, and no more than the server keeps up with."""
        return min(self.rate, self.ended_per_s) * self.goodput


def judge(records: Sequence[Record], rate: float, slo: Slo) -> Point:
    """What a step shows. A generator that is late makes its requests late: it can only lower what is found."""
    answers = [record.answer for record in records if record.answer]
    lag_p99_ms = percentile([record.lag_ms for record in records], 99)
    goodput = verdict(records, lag_p99_ms, slo).goodput
    return Point(
        rate,
        goodput,
        goodput >= slo.goodput_min,
        _ended_per_s(records, rate),
        percentile([answer.ttft_ms for answer in answers], 95) if answers else None,
        percentile([answer.tpot_ms for answer in answers], 95) if answers else None,
        lag_p99_ms,
    )


def _ended_per_s(records: Sequence[Record], rate: float) -> float:
    """From the first end to the last; `rate` where that is no time at all."""
    ends_s = [record.at_s + record.answer.e2e_ms / 1000 for record in records if record.answer]
    if not ends_s:
        return 0.0
    span_s = max(ends_s) - min(ends_s)
    return (len(ends_s) - 1) / span_s if span_s else rate


def next_rate(points: Sequence[Point], bounds: Bounds) -> float | None:
    """The rate to offer next; None when the search is over. Raises `NoRate`."""
    failed = min((point.rate for point in points if not point.kept), default=None)
    best = best_point(points)
    if best is None:
        return _halved(failed, bounds) if failed else bounds.start
    if failed is None:
        return _doubled(best.rate, bounds)
    return None if failed <= bounds.ratio * best.rate else sqrt(best.rate * failed)


def best_point(points: Sequence[Point]) -> Point | None:
    """The highest rate at which the SLO was kept, below every rate at which it was not."""
    failed = min((point.rate for point in points if not point.kept), default=float("inf"))
    return max((point for point in points if point.kept and point.rate < failed), key=lambda p: p.rate, default=None)


def _halved(rate: float, bounds: Bounds) -> float:
    if rate / 2 < bounds.lowest:
        raise NoRate(f"the SLO is not kept even at {rate:.3g} images/s: this hardware is too slow for it")
    return rate / 2


def _doubled(rate: float, bounds: Bounds) -> float:
    if rate * 2 > bounds.highest:
        raise NoRate(f"the SLO is still kept at {rate:.3g} images/s, and more than {bounds.highest:.5g} are not tried")
    return rate * 2
