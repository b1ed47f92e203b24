import pytest

from accounting.leap import LEAP_MS, Leaps


@pytest.mark.parametrize(
    ("wall_ms", "steady_ms", "leapt_ms"),
    [
        (1_000, 1_000, 0),
        (1_000 + LEAP_MS - 1, 1_000, 0),
        (1_000 + LEAP_MS, 1_000, LEAP_MS),
        (660_000, 0, 660_000),
        (-660_000, 0, 0),  # set back: holds live longer, which harms nobody
    ],
)
def test_a_leap_is_what_a_clock_ran_ahead_of_the_time_that_passed(wall_ms: int, steady_ms: int, leapt_ms: int):
    now_ms = 5_000
    leaps = Leaps(lambda: now_ms)
    assert leaps.since_last(70_000)[0] == 0
    leaps.remember(leaps.since_last(70_000)[1])
    now_ms += steady_ms
    assert leaps.since_last(70_000 + wall_ms)[0] == leapt_ms


def test_a_leap_is_told_until_it_is_remembered():
    leaps = Leaps(lambda: 0)
    leaps.remember(leaps.since_last(0)[1])
    assert [leaps.since_last(9_000)[0] for _ in range(2)] == [9_000] * 2
    leaps.remember(leaps.since_last(9_000)[1])
    assert leaps.since_last(9_000)[0] == 0
