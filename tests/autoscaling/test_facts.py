from dataclasses import replace

import pytest

from autoscaling.config import Config
from autoscaling.facts import Facts, answer

CONFIG = Config()
FACTS = Facts(
    rate_1m=4.0,
    rate_5m=4.0,
    rate_15m=4.0,
    deviation=1.0,
    season=0.0,
    deviations=1.0,
    seasonal=False,
    hold_s=0.0,
    held=0.0,
    margin=1.2,
    backlog_s=0.0,
    oldest_wait_s=0.0,
    correction=1.0,
    running=6,
    pending=0,
    overdue=0,
    draining=0,
    idle_s=0.0,
    start_s=120.0,
    attainment=1.0,
    late_share=0.009,
    blind=False,
    new=False,
    last_want=6,
    replicas_min=0,
    replicas_max=100,
    granted=None,
    signal_age_s=1.0,
)


@pytest.mark.parametrize(
    ("different", "want", "replicas"),
    [
        pytest.param({}, 6, 6, id="margin x (rate + deviation)"),
        pytest.param({"held": 9.0}, 11, 11, id="what is held"),
        pytest.param({"season": 9.0}, 6, 6, id="a forecast that does not go by the season"),
        pytest.param({"season": 9.0, "seasonal": True}, 12, 12, id="one that does"),
        pytest.param({"backlog_s": 41.0}, 9, 9, id="backlog beyond what running replicas begin in time"),
        pytest.param({"backlog_s": 12.0}, 6, 6, id="a queue that is no longer than the slack"),
        pytest.param({"replicas_min": 8}, 8, 8, id="the card's minimum"),
        pytest.param({"replicas_max": 3}, 3, 3, id="the card's maximum"),
        pytest.param({"granted": 4}, 6, 4, id="a grant"),
        pytest.param({"overdue": 2, "pending": 2}, 6, 8, id="starts that are overdue"),
        pytest.param({"overdue": 2, "pending": 2, "granted": 7}, 6, 7, id="and a grant"),
        pytest.param({"blind": True, "last_want": 9}, 9, 9, id="a missing signal"),
        pytest.param({"new": True, "running": 5, "pending": 4}, 9, 9, id="little seen"),
    ],
)
def test_the_answer_follows_from_the_facts(different: dict[str, float], want: int, replicas: int) -> None:
    result = answer(replace(FACTS, **different), CONFIG)

    assert (result.want, result.replicas) == (want, replicas)


IDLE = replace(FACTS, rate_1m=0.0, rate_5m=0.0, rate_15m=0.0, deviation=0.0)


@pytest.mark.parametrize(
    ("different", "want"),
    [
        pytest.param({"idle_s": 3700.0}, 1, id="idle for less than a restart costs"),
        pytest.param({"idle_s": 3720.0}, 0, id="idle for as much"),
        pytest.param({"idle_s": 9999.0, "attainment": 0.98}, 1, id="while the promise is not kept"),
        pytest.param({"idle_s": 9999.0, "replicas_min": 1}, 1, id="with a minimum of one"),
        pytest.param({"idle_s": 9999.0, "running": 0, "backlog_s": 35.0}, 4, id="with a queue: all of it counts"),
    ],
)
def test_the_last_replica_goes_when_it_costs_more_than_a_cold_start(different: dict[str, float], want: int) -> None:
    assert answer(replace(IDLE, **different), CONFIG).want == want
