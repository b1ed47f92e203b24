from autoscaling.season import DAY_S, SLOT_S, Season


def after(days: list[float]) -> Season:
    """Days on which the second quarter of an hour had this rate, and all else 1."""
    season = Season.none()
    for day, rate in enumerate(days):
        for slot in range(96):
            for minute in range(15):
                now_s = day * DAY_S + slot * SLOT_S + minute * 60
                season = season.arrive(now_s, 60 * (rate if slot == 1 else 1.0), 60.0)
    return season


def test_the_first_day_says_nothing_of_the_hours_to_come() -> None:
    assert Season.none().ahead(0.0, 120.0) == 0.0


def test_a_peak_of_yesterday_is_seen_one_start_ahead() -> None:
    season = after([8.0])

    assert season.ahead(DAY_S + SLOT_S - 60, 120.0) == 8.0
    assert season.ahead(DAY_S + SLOT_S - 180, 120.0) == 1.0


def test_the_last_day_weighs_half() -> None:
    assert after([8.0, 4.0]).ahead(2 * DAY_S + SLOT_S, 60.0) == 6.0
