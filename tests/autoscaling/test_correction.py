import pytest

from autoscaling.config import Config
from autoscaling.correction import Correction

CONFIG = Config()


def after(*work: tuple[float | None, float | None]) -> float:
    correction = Correction()
    for expected_s, observed_s in work:
        correction = correction.then(expected_s, observed_s, CONFIG)
    return correction.factor(CONFIG)


def test_work_that_takes_longer_than_expected_counts_for_more() -> None:
    assert after(*[(100.0, 130.0)] * 300) == pytest.approx(1.3, rel=0.05)


def test_a_few_requests_change_little() -> None:
    assert after((10.0, 20.0)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("observed_s", "bound"), [(1000.0, CONFIG.correction_max), (1.0, CONFIG.correction_min)])
def test_it_is_bounded(observed_s: float, bound: float) -> None:
    assert after(*[(100.0, observed_s)] * 300) == bound


def test_without_a_measurement_it_stays() -> None:
    assert after((None, None), (0.0, 0.0), (5.0, None)) == 1.0
