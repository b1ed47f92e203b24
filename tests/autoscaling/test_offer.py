import pytest

from autoscaling.offer import NoOffer, Offer, cheapest

L4 = Offer("L4", hourly_nano_usd=700_000_000, speed=0.3, largest_ttft_s=3.1)
A100 = Offer("A100", hourly_nano_usd=2_000_000_000, speed=1.0, largest_ttft_s=1.2)
H100 = Offer("H100", hourly_nano_usd=3_000_000_000, speed=1.3, largest_ttft_s=0.9)


@pytest.mark.parametrize(("ttft_s", "best"), [(5.0, A100), (1.0, H100)])
def test_the_least_money_for_the_work_wins_among_those_fast_enough(ttft_s: float, best: Offer) -> None:
    assert cheapest([L4, A100, H100], ttft_s) == best


def test_a_cheap_type_that_is_slow_but_cheap_for_its_work_wins() -> None:
    assert cheapest([Offer("L4", hourly_nano_usd=500_000_000, speed=0.3), A100], 2.0).gpu == "L4"


def test_no_type_in_time_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NoOffer, match="pixel cap"):
        cheapest([L4, A100], 0.5)
