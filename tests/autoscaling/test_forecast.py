import numpy as np
import pytest

from autoscaling.forecast import Forecast, Held

FOLLOWS, HOLDS = Forecast(0.0, 0), Forecast(0.0, 300)
BOTH = (FOLLOWS, HOLDS)


def levels(*each: float) -> list[tuple[float, float]]:
    """What both hold after each five seconds."""
    held, out = Held.none(BOTH), []
    for level in each:
        held = held.then(np.array([level, level]), 5.0, BOTH)
        out.append((held.level(0), held.level(1)))
    return out


def test_a_hold_keeps_the_highest_level() -> None:
    assert levels(1, 5, 2)[-1] == (2, 5)


@pytest.mark.parametrize(("seconds", "held"), [(295, 9.0), (380, 1.0)])
def test_a_hold_ends_after_its_time_and_at_most_a_quarter_more(seconds: int, held: float) -> None:
    assert levels(9, *[1] * (seconds // 5))[-1][1] == held


def test_a_level_is_the_rate_and_its_deviations() -> None:
    assert Forecast(0.5, 0).level(rate=4, deviation=2, season=9) == 5


def test_a_seasonal_level_is_at_least_what_the_time_of_day_asks_for() -> None:
    assert Forecast(0.5, 0, seasonal=True).level(rate=4, deviation=2, season=9) == 10
    assert Forecast(0.5, 0, seasonal=True).level(rate=4, deviation=2, season=0) == 5
