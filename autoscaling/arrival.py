"""The work that arrived lately: its rate over one, five and fifteen minutes, and how much it varies."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BIN_S = 5.0
WINDOWS = (12, 60, 180)  # in bins: one, five and fifteen minutes
WEIGHTS = (0.3, 0.4, 0.3)  # of the windows: what is new against what is sure
START_S = 30.0  # a rate is never taken over less, so that the very first request is no rush
DEVIATION_S = 1800.0  # memory of the deviation


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Work in bins of five seconds, and one bin that is still open. Rates are in replica-seconds a second."""

    bins: Floats  # replica-seconds in each closed bin, newest last
    sums: tuple[float, ...] = (0.0,) * len(WINDOWS)  # of the last bins, by window
    open_work_s: float = 0.0
    open_s: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    age_s: float = 0.0

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros(0))

    @property
    def rates(self) -> tuple[float, ...]:
        """Over each window and the open bin."""
        closed = self.bins.size
        return tuple(
            (total + self.open_work_s) / max(min(closed, window) * BIN_S + self.open_s, START_S)
            for total, window in zip(self.sums, WINDOWS, strict=True)
        )

    @property
    def deviation(self) -> float:
        """Of the rates of closed bins."""
        return math.sqrt(max(self.square - self.mean**2, 0.0))

    @property
    def full(self) -> bool:
        return self.open_s >= BIN_S

    def arrive(self, work_s: float, span_s: float) -> Self:
        open_work_s, open_s = self.open_work_s + work_s, self.open_s + span_s
        return type(self)(self.bins, self.sums, open_work_s, open_s, self.mean, self.square, self.age_s + span_s)

    def close(self) -> Self:
        """The open bin becomes a closed one, or as many as its time is worth."""
        rate = self.open_work_s / self.open_s
        count = min(max(round(self.open_s / BIN_S), 1), WINDOWS[-1])
        bins = np.append(self.bins, np.full(count, rate * BIN_S))[-WINDOWS[-1] :]
        share = min(self.open_s / min(DEVIATION_S, self.age_s), 1.0)
        return replace(
            self,
            bins=bins,
            sums=tuple(float(bins[-window:].sum()) for window in WINDOWS),
            open_work_s=0.0,
            open_s=0.0,
            mean=self.mean + share * (rate - self.mean),
            square=self.square + share * (rate**2 - self.square),
        )


def blend(rates: tuple[float, ...]) -> float:
    """One rate of the three."""
    return sum(weight * rate for weight, rate in zip(WEIGHTS, rates, strict=True))
