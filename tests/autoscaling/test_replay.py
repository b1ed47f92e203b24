import numpy as np
import pytest

from autoscaling.budget import Seen
from autoscaling.config import Config
from autoscaling.forecast import Forecast
from autoscaling.replay import Moment, Replay, margins

CONFIG = Config(forecasts=(Forecast(0.0, 0), Forecast(0.0, 300)), first_forecast=0, guess_s=1e-6, wear_s=0.0)


def live(rates: list[float], *, late_share: float = 0.01, start_s: float = 60.0) -> Replay:
    """Each rate for five seconds, and both forecasts know only the last one."""
    replay = Replay.none(CONFIG)
    for rate in rates:
        replay = replay.close(Moment(np.array([rate, rate]), 0.0, 5.0, start_s, late_share), CONFIG)
        replay = replay.arrive([Seen(1.0, rate, 10, 1, 10, 0)] * 5, CONFIG.slack_s)
    return replay.close(Moment(np.array([rate, rate]), 0.0, 5.0, start_s, late_share), CONFIG)


def test_of_steady_work_whoever_has_enough_is_never_late_and_whoever_has_not_always_is() -> None:
    late = live([10.0] * 200).late_share(CONFIG)[0]

    assert late[margins(CONFIG) >= 1.0] == pytest.approx(0.0, abs=1e-6)
    assert late[margins(CONFIG) <= 0.9] == pytest.approx(1.0, abs=0.1)


def test_the_choice_is_the_cheapest_that_keeps_the_promise() -> None:
    replay = live([10.0] * 100)
    _, margin = replay.chosen(CONFIG)

    assert np.ceil(10 * margin) in {10, 11}


def test_work_that_doubles_without_notice_is_late_for_one_start_up() -> None:
    replay = live([10.0] * 100 + [20.0] * 100)
    late_s = replay.late[0] / 10
    grid = margins(CONFIG)

    assert late_s[int(np.argmax(grid >= 2.0))] == 0.0
    assert 60 <= late_s[int(np.argmax(grid >= 1.2))] <= 200  # the start-up, and until what queued in it is done


def test_a_margin_that_covers_the_step_is_chosen_where_steps_are_frequent() -> None:
    _, margin = live(([10.0] * 30 + [20.0] * 30) * 10).chosen(CONFIG)

    assert margin >= 1.9


def test_a_larger_budget_buys_a_smaller_fleet() -> None:
    rates = ([10.0] * 24 + [16.0] * 2) * 12

    strict, lax = live(rates, late_share=0.001), live(rates, late_share=0.5)

    assert lax.chosen(CONFIG)[1] < strict.chosen(CONFIG)[1]


def test_if_nobody_keeps_the_promise_the_least_late_is_followed() -> None:
    replay = live([1.0] * 20 + [100.0] * 20, late_share=0.0)

    assert replay.late.ravel()[replay.choice] == replay.late.min()


def test_before_any_history_the_choice_is_the_configurations() -> None:
    forecast, margin = Replay.none(Config()).chosen(Config())

    assert forecast == Config().first_forecast
    assert margin == pytest.approx(Config().first_margin, rel=0.1)


def test_margins_are_fine_near_one_and_reach_the_largest() -> None:
    grid = margins(Config())

    assert grid[0] == Config().margin_min
    assert grid[-1] >= Config().margin_max
    assert np.diff(grid)[grid[:-1] < 1.1].max() < 0.06
