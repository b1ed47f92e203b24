"""Rules that say from what arrived lately how much will arrive: the candidates among which history chooses."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = 4  # of a hold: the oldest part is forgotten as a whole, so a hold lasts up to a quarter longer


@dataclass(frozen=True, slots=True)
class Forecast:
    """The mean rate and so many deviations; the highest of the last `hold_s`; not less than this time of day asks for."""

    deviations: float
    hold_s: float
    seasonal: bool = False

    def level(self, rate: float, deviation: float, season: float) -> float:
        """Replicas' worth of work a second, at this moment."""
        return max(rate, season if self.seasonal else 0.0) + self.deviations * deviation


@dataclass(frozen=True, slots=True)
class Held:
    """The highest level of each forecast while it holds."""

    peaks: Floats  # [forecast, part of the hold], newest last
    ages_s: Floats  # [forecast]: how long the newest part has lasted

    @classmethod
    def none(cls, forecasts: tuple[Forecast, ...]) -> Self:
        return cls(np.zeros((len(forecasts), PARTS + 1)), np.zeros(len(forecasts)))

    @property
    def levels(self) -> Floats:
        highest: Floats = self.peaks.max(axis=1)
        return highest

    def level(self, forecast: int) -> float:
        return float(self.peaks[forecast].max())

    def then(self, levels: Floats, span_s: float, forecasts: tuple[Forecast, ...]) -> Self:
        """`levels` were asked for during the last `span_s`."""
        ages_s = self.ages_s + span_s
        peaks = self.peaks.copy()
        for row, forecast in enumerate(forecasts):
            part_s = forecast.hold_s / PARTS
            if ages_s[row] >= part_s:
                gone = PARTS + 1 if not part_s else min(int(ages_s[row] // part_s), PARTS + 1)
                peaks[row] = np.append(peaks[row, gone:], np.zeros(gone))
                ages_s[row] = 0.0
        peaks[:, -1] = np.maximum(peaks[:, -1], levels)
        return type(self)(peaks, ages_s)
