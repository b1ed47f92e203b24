from itertools import combinations

from torture.deaths.plan import BACK_WITHIN_S, HEAD_BACK_WITHIN_S, PAUSE_MAX_S, plan_of
from torture.deaths.victim import VICTIMS

PAIRED = [victim.name for victim in VICTIMS if victim.in_pairs]


def test_a_round_kills_everyone_alone_and_each_pair():
    names = [kill.name for kill in plan_of([0], VICTIMS)]
    assert names == [*(victim.name for victim in VICTIMS), *(" + ".join(pair) for pair in combinations(PAIRED, 2))]


def test_rounds_differ_in_order_and_pause_and_a_round_is_always_the_same():
    first, second = plan_of([0], VICTIMS), plan_of([1], VICTIMS)
    assert first == plan_of([0], VICTIMS)
    assert [kill.name for kill in first] == [kill.name for kill in second]
    assert {kill.victims for kill in first} != {kill.victims for kill in second}
    assert plan_of([0, 1], VICTIMS) == first + second


def test_over_ten_rounds_pairs_die_in_both_orders_at_once_and_apart():
    of_a_pair = [kill for kill in plan_of(range(10), VICTIMS) if kill.name == "keeper + governor"]
    assert len({kill.victims for kill in of_a_pair}) == 2
    assert {kill.pause_s == 0.0 for kill in of_a_pair} == {True, False}
    assert all(0.0 <= kill.pause_s <= PAUSE_MAX_S for kill in of_a_pair)


def test_a_fleet_is_given_longer_where_its_head_dies():
    within_s = {kill.name: kill.back_within_s for kill in plan_of([0], VICTIMS)}
    assert within_s["raylet"] == within_s["keeper + governor"] == BACK_WITHIN_S
    assert within_s["gcs"] == within_s["head's agent"] == HEAD_BACK_WITHIN_S


def test_a_kill_says_who_dies_and_when():
    alone, *_, together = (kill for kill in plan_of([0], VICTIMS) if "governor" in kill.name)
    assert str(alone) == "governor"
    assert " s later " in str(together)
