import pytest

from autoscaling.budget import Budget, Seen
from autoscaling.config import Config

CONFIG = Config()
PLANNED = round(100_000 * CONFIG.late_share)


def spent(missed: int, foreseen: int, requests: int = 100_000) -> Budget:
    return Budget(met=requests - missed, missed=missed, foreseen=foreseen)


def test_with_nothing_seen_the_attainment_is_full() -> None:
    assert Budget().attainment == 1.0


def test_who_spends_as_planned_goes_on_as_planned() -> None:
    assert spent(PLANNED, PLANNED).share(CONFIG) == pytest.approx(CONFIG.late_share)


def test_an_overdraft_is_saved_and_a_surplus_is_spent() -> None:
    assert spent(1100, 1100).share(CONFIG) < CONFIG.late_share < spent(800, 800).share(CONFIG)


@pytest.mark.parametrize(("missed", "factor"), [(50_000, CONFIG.share_min), (0, CONFIG.share_max)])
def test_neither_a_bad_nor_a_good_day_winds_it_up(missed: int, factor: float) -> None:
    assert spent(missed, missed).share(CONFIG) == pytest.approx(factor * CONFIG.late_share)


def test_where_reality_is_worse_than_the_replay_the_replay_gets_a_smaller_share() -> None:
    assert spent(PLANNED, PLANNED // 3).share(CONFIG) == pytest.approx(CONFIG.late_share / 2.3, rel=0.05)


def test_the_replay_of_the_real_fleet_is_late_where_that_has_too_few_replicas() -> None:
    busy = Budget()
    for _ in range(10):
        busy = busy.then(Seen(1.0, work_s=8.0, requests=4, running=2, met=4, missed=0), CONFIG)

    assert busy.foreseen == pytest.approx(40, rel=0.01)
