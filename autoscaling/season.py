"""What this time of day has asked for on the days before."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DAY_S = 86_400.0
SLOT_S = 900.0
SLOTS = round(DAY_S / SLOT_S)
NEWEST = 0.5  # weight of the last day


@dataclass(frozen=True, slots=True)
class Season:
    """The mean work rate of each quarter of an hour of the day; 0 where no day has been seen."""

    rates: Floats
    slot: int = 0
    work_s: float = 0.0
    span_s: float = 0.0

    @classmethod
    def none(cls) -> Self:
        return cls(np.zeros(SLOTS))

    def ahead(self, now_s: float, span_s: float) -> float:
        """The highest rate of the time from now to `span_s` later."""
        first, last = int(now_s // SLOT_S), int((now_s + span_s) // SLOT_S)
        return max(float(self.rates[slot % SLOTS]) for slot in range(first, last + 1))

    def arrive(self, now_s: float, work_s: float, span_s: float) -> Self:
        slot = int(now_s // SLOT_S) % SLOTS
        if slot == self.slot:
            return type(self)(self.rates, slot, self.work_s + work_s, self.span_s + span_s)
        return type(self)(self._learnt(), slot, work_s, span_s)

    def _learnt(self) -> Floats:
        if self.span_s < SLOT_S / 2:
            return self.rates
        rates = self.rates.copy()
        rate, known = self.work_s / self.span_s, rates[self.slot]
        rates[self.slot] = known + NEWEST * (rate - known) if known else rate
        return rates
