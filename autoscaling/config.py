"""The one configuration: every model and every trace runs with it. What must adapt, adapts online."""

import hashlib
from dataclasses import dataclass

from autoscaling.forecast import Forecast

FORECASTS = (
    # Load that wanders is followed.
    Forecast(deviations=0.0, hold_s=0),
    Forecast(deviations=0.7, hold_s=0),
    # Bursts that come again find what the last one needed.
    Forecast(deviations=0.0, hold_s=300),
    Forecast(deviations=0.7, hold_s=300),
    Forecast(deviations=1.4, hold_s=300),
    Forecast(deviations=0.7, hold_s=600),
    Forecast(deviations=1.4, hold_s=600),
    Forecast(deviations=1.4, hold_s=1200),
    # Load that is on and off by the hour.
    Forecast(deviations=0.0, hold_s=3600),
    Forecast(deviations=0.0, hold_s=6 * 3600),
    # Days that are alike.
    Forecast(deviations=0.7, hold_s=0, seasonal=True),
)


@dataclass(frozen=True, slots=True, eq=False)  # what is computed from it is kept by identity
class Config:
    """Constants and their reasons. Halving or doubling most of them moves GPU-hours by a few per cent."""

    target: float = 0.99  # of all requests
    reserve: float = 0.12  # of what may be late is not planned for: the replay is a model
    slack_s: float = 2.0  # the SLO's wait for a first token, in a queue

    # The candidates.
    forecasts: tuple[Forecast, ...] = FORECASTS
    margin_min: float = 0.75  # below 1: a forecast with deviations has its own margin
    margin_max: float = 5.0  # beyond it, no forecast is worth the name
    margin_step: float = 0.02  # of the smallest margins: a replica in fifty
    margin_growth: float = 1.1  # of the steps: 34 margins in all
    first_forecast: int = 3  # the choice before any history
    first_margin: float = 1.3

    # The choice.
    memory_s: float = 86_400.0  # a day: half of it gave the same results, two days as well
    guess_s: float = 2700.0  # history that outweighs the guess: two thirds of it, and starts of 300 s were late
    guess_spread: float = 0.03  # the guess's tail for work that never varies: 14% more replicas are late with 1%
    guess_unrest: float = 0.3  # and how much wider it is for each unit of deviation over mean
    wear_s: float = 30.0  # a start costs this on top of its rent: at equal cost, fewer starts
    switch: float = 0.02  # a new choice is cheaper by more than this: no flapping between equals

    # The error budget.
    gain: float = 4.0  # of the feedback: a quarter more late than planned, and nothing is left to be late
    share_min: float = 0.1  # of what may be late: a bad day does not make the next one priceless
    share_max: float = 2.0  # a good day does not make the next one careless
    doubt_min: float = 0.5  # reality against replay, at most so much better
    doubt_max: float = 5.0  # and so much worse

    # What is late already, and beginnings and ends.
    drain_s: float = 10.0  # a backlog is to be gone so long after its replicas run
    warm_s: float = 300.0  # nothing is given back before so much has been seen
    late_price_s: float = 3600.0  # idling for an hour costs as much as a cold first request
    correction_min: float = 0.5
    correction_max: float = 2.0
    correction_memory_s: float = 3600.0  # of work done: a thousand requests

    @property
    def name(self) -> str:
        """The same for equal configurations: rows carry it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def late_share(self) -> float:
        """Of requests, planned."""
        return (1 - self.target) * (1 - self.reserve)
