import pytest

from autoscaling.arrival import WINDOWS, Arrivals, blend


def after(*rates: tuple[float, int]) -> Arrivals:
    """Each rate for so many seconds."""
    arrivals = Arrivals.none()
    for rate, seconds in rates:
        for _ in range(seconds):
            arrivals = arrivals.arrive(rate, 1.0)
            arrivals = arrivals.close() if arrivals.full else arrivals
    return arrivals


def test_rates_are_means_of_one_five_and_fifteen_minutes() -> None:
    assert after((1.0, 1000), (4.0, 60)).rates == pytest.approx((4.0, 1.6, 1.2))


def test_the_open_bin_counts_at_once() -> None:
    before = after((1.0, 900))

    assert before.arrive(30.0, 1.0).rates[0] == pytest.approx(90 / 61)


def test_the_first_request_is_no_rush() -> None:
    assert Arrivals.none().arrive(3.0, 1.0).rates == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(("rates", "deviation"), [([(3.0, 600)], 0.0), ([(2.0, 300), (4.0, 300)], 1.0)])
def test_the_deviation_is_that_of_the_rate(rates: list[tuple[float, int]], deviation: float) -> None:
    assert after(*rates).deviation == pytest.approx(deviation, abs=1e-6)


def test_a_long_silence_of_the_signals_is_spread_over_its_bins() -> None:
    late = after((1.0, 100)).arrive(120.0, 60.0).close()

    assert late.bins[-12:] == pytest.approx([10.0] * 12)
    assert late.rates[0] == pytest.approx(2.0)


def test_no_more_than_fifteen_minutes_are_kept() -> None:
    assert after((1.0, 2000)).bins.size == WINDOWS[-1]


def test_a_rate_that_never_changes_is_its_own_blend() -> None:
    assert blend((2.0, 2.0, 2.0)) == pytest.approx(2.0)
