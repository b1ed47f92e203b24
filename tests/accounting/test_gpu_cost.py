"""P9: what the accelerators cost is conserved to the nano-dollar, however it is split."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounting.gpu_cost import HOUR_MS, WINDOW_MS, Cost, Costs, Replica, apportion, gpu_costs, rent
from accounting.life import Life
from accounting.stay import Stay

H200 = 4_590_000_000  # nano-dollars an hour
A100 = 1_790_000_000
END_MS = 60_000


def stay(
    request_id: str, from_ms: int, to_ms: int, charged_nano: int | None = 1_000, replica_id: str = "r", attempt: int = 1
) -> Stay:
    return Stay(
        request_id=request_id,
        attempt=attempt,
        replica_id=replica_id,
        model="m",
        from_ms=from_ms,
        to_ms=to_ms,
        finish="stop",
        prompt_tokens=1_260,
        output_tokens=150,
        charged_nano=charged_nano,
    )


def life(from_ms: int = 0, ready_ms: int = 0, to_ms: int = END_MS, rate: int = H200, replica_id: str = "r") -> Life:
    return Life(replica_id, "m", rate, from_ms, ready_ms, to_ms)


TIMES = st.integers(-5_000, END_MS + 15_000)
RATES = st.sampled_from([0, 1, 7, A100, H200]) | st.integers(0, 10**12)
LIVES = st.builds(
    lambda times, rate, replica: Life(replica, "m" + replica, rate, *sorted(times)),
    st.tuples(TIMES, TIMES, TIMES),
    RATES,
    st.sampled_from("rs"),
)
# Overlapping, outside any life, of no duration, ended before they began (a clock was set back), on unknown replicas.
STAYS = st.builds(
    stay,
    st.sampled_from("abcdefgh"),
    TIMES,
    TIMES,
    st.none() | st.integers(0, 10_000_000),
    st.sampled_from("rst"),
    st.integers(1, 3),
)
MANY_STAYS = st.lists(STAYS, max_size=12, unique_by=lambda stay: (stay.request_id, stay.attempt))
MANY_LIVES = st.lists(LIVES, max_size=4)


def costs(lives: list[Life], stays: list[Stay], from_ms: int = 0, to_ms: int = END_MS) -> Costs:
    return gpu_costs(lives, stays, from_ms, to_ms)


def only(split: Costs) -> Cost:
    (cost,) = split.replicas.values()
    return cost


@pytest.mark.parametrize(
    ("rate", "from_ms", "to_ms", "nano"),
    [
        (H200, 0, 10_000, 12_750_000),  # 4.59e9 * 10 / 3600
        (A100, 0, 10_000, 4_972_222),  # 4,972,222.2...
        (A100, 40_000, 50_000, 4_972_223),  # so every fifth window or so is one larger
        (A100, 0, HOUR_MS, A100),
        (H200, 5, 5, 0),
    ],
)
def test_rent(rate: int, from_ms: int, to_ms: int, nano: int):
    """The rate by time; what is rounded off one span is in the next."""
    assert rent(rate, from_ms, to_ms) == nano


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (10, {"a": 1, "b": 1}, {"a": 5, "b": 5}),
        (10, {"a": 1, "b": 1, "c": 1}, {"a": 4, "b": 3, "c": 3}),  # equal remainders: the smaller id
        (10, {"c": 1, "b": 1, "a": 1}, {"a": 4, "b": 3, "c": 3}),
        (10, {"a": 3, "b": 4, "c": 4}, {"a": 3, "b": 4, "c": 3}),  # 2.73, 3.64, 3.64: two are left
        (1, {"a": 1, "b": 2}, {"a": 0, "b": 1}),
        (0, {"a": 1, "b": 2}, {"a": 0, "b": 0}),
    ],
)
def test_the_last_units_go_to_the_largest_remainders(amount: int, weights: dict[str, int], parts: dict[str, int]):
    """Weights may be rounded, money may not."""
    ids = {(name, 1): weight for name, weight in weights.items()}
    assert apportion(amount, ids) == {(name, 1): part for name, part in parts.items()}


@pytest.mark.parametrize(
    ("stays", "cost"),
    [
        # Nobody came: 60 s * 1,275,000 n$/s.
        ([], Cost(rent_nano=76_500_000, share_nano=0, idle_nano=76_500_000, cold_nano=0, waste_nano=0)),
        # 10 s of 60 s.
        ([stay("a", 5_000, 15_000)], Cost(rent_nano=76_500_000, share_nano=12_750_000, idle_nano=63_750_000, cold_nano=0, waste_nano=0, revenue_nano=1_000)),
        # Cut off and free: its 10 s are ours.
        ([stay("a", 5_000, 15_000, None)], Cost(rent_nano=76_500_000, share_nano=0, idle_nano=63_750_000, cold_nano=0, waste_nano=12_750_000)),
        # A free model is charged zero, and that is a charge.
        ([stay("a", 5_000, 15_000, 0)], Cost(rent_nano=76_500_000, share_nano=12_750_000, idle_nano=63_750_000, cold_nano=0, waste_nano=0)),
        # 2 s alone, 2 s by halves, 2 s alone: 3 s each.
        ([stay("a", 0, 4_000), stay("b", 2_000, 6_000, None)], Cost(rent_nano=76_500_000, share_nano=3_825_000, idle_nano=68_850_000, cold_nano=0, waste_nano=3_825_000, revenue_nano=1_000)),
        # Clocks differ: what lies outside of the life, or has no duration, has no part.
        ([stay("a", -9, 0), stay("b", END_MS, END_MS + 9), stay("c", 7, 7), stay("d", 9, 7)], Cost(rent_nano=76_500_000, share_nano=0, idle_nano=76_500_000, cold_nano=0, waste_nano=0, revenue_nano=2_000)),
    ],
)  # fmt: skip
def test_a_replicas_time_is_split(stays: list[Stay], cost: Cost):
    """By who was on it, in an hour's rate of $4.59."""
    assert only(costs([life()], stays)) == cost


def test_an_attempt_alone_carries_the_whole_busy_time():
    """At low load that is its true cost; the idle time around it is not its own."""
    split = costs([life(rate=A100)], [stay("a", 12_345, 19_999)])
    assert split.attempts == {("a", 1): rent(A100, 12_345, 19_999)}


def test_loading_is_cold_whoever_waits():
    """Customers never pay for a cold start, even if a slot was held on it already."""
    split = costs([life(ready_ms=30_000)], [stay("a", 20_000, 40_000)])
    assert only(split) == Cost(
        rent_nano=76_500_000,
        share_nano=12_750_000,
        idle_nano=25_500_000,
        cold_nano=38_250_000,
        waste_nano=0,
        revenue_nano=1_000,
    )  # 10, 20 and 30 s


def test_three_attempts_share_to_the_last_nano_dollar():
    """A window of 10 s at $1.79 an hour, 4,972,222 n$, is not divisible by three: the first by id has the one left over."""
    split = costs([life(rate=A100)], [stay(name, 0, WINDOW_MS) for name in "cab"])
    assert split.attempts == {("a", 1): 1_657_408, ("b", 1): 1_657_407, ("c", 1): 1_657_407}


def test_a_failed_attempt_is_waste_on_its_own_replica():
    """The request was charged for its second attempt, elsewhere."""
    split = costs(
        [life(), life(replica_id="s")],
        [stay("a", 0, 10_000, None), stay("a", 10_000, 20_000, 1_000, "s", attempt=2)],
    )
    assert split.replicas[Replica("m", "r")].waste_nano == split.replicas[Replica("m", "s")].share_nano == 12_750_000
    assert split.attempts == {("a", 1): 12_750_000, ("a", 2): 12_750_000}


def test_servers_that_follow_each_other_on_a_replica_are_one_replica():
    """Its engine was restarted: the second cold start counts, the rent goes on."""
    split = costs([life(0, 10_000, 30_000), life(30_000, 40_000, END_MS)], [stay("a", 25_000, 45_000)])
    assert only(split) == Cost(
        rent_nano=76_500_000,
        share_nano=12_750_000,
        idle_nano=38_250_000,
        cold_nano=25_500_000,
        waste_nano=0,
        revenue_nano=1_000,
    )  # 10, 30 and 20 s


def test_revenue_belongs_to_the_period_in_which_a_stay_ended():
    """So it is counted once, and also where no sample of the replica reached the ledger."""
    stays = [stay("a", 0, 10_000, 500), stay("b", 9_000, 11_000, 70), stay("c", 0, 5_000, 8, "unknown")]
    first, second = costs([], stays, 0, 10_000), costs([], stays, 10_000, 20_000)
    assert first.replicas == {Replica("m", "unknown"): Cost(revenue_nano=8), Replica("m", "r"): Cost(revenue_nano=500)}
    assert second.replicas == {Replica("m", "r"): Cost(revenue_nano=70)}


def test_a_models_margin_is_its_revenue_less_all_rent():
    """Idle, cold and wasted time are paid from it as well."""
    split = costs([life(), life(replica_id="s")], [stay("a", 0, 1_000, 200_000_000)])
    cost = split.by_model()["m"]
    assert cost == Cost(
        rent_nano=153_000_000,
        share_nano=1_275_000,
        idle_nano=151_725_000,
        cold_nano=0,
        waste_nano=0,
        revenue_nano=200_000_000,
    )
    assert cost.margin_nano == 47_000_000


@given(MANY_LIVES, MANY_STAYS, TIMES, TIMES)
@example([life(rate=A100)], [stay("a", 0, 8), stay("b", 0, 8), stay("c", 0, 8)], 0, END_MS)  # 3,977 n$ among three
def test_the_rent_is_conserved_to_the_nano_dollar(lives: list[Life], stays: list[Stay], one_ms: int, other_ms: int):
    """For any lives and stays: the parts are the rent, and what attempts used is share and waste."""
    from_ms, to_ms = sorted((one_ms, other_ms))
    split = costs(lives, stays, from_ms, to_ms)
    for cost in split.replicas.values():
        assert cost.share_nano + cost.idle_nano + cost.cold_nano + cost.waste_nano == cost.rent_nano
    assert sum(cost.rent_nano for cost in split.replicas.values()) == sum(
        rent(life.rent_nano_per_hour, max(life.from_ms, from_ms), min(life.to_ms, to_ms))
        for life in lives
        if max(life.from_ms, from_ms) < min(life.to_ms, to_ms)
    )
    busy_nano = sum(cost.share_nano + cost.waste_nano for cost in split.replicas.values())
    assert split.attempts.total() == busy_nano
    assert sum(split.by_model().values(), Cost()) == sum(split.replicas.values(), Cost())


@given(MANY_LIVES, MANY_STAYS)
def test_no_part_is_negative(lives: list[Life], stays: list[Stay]):
    """Neither a replica's nor an attempt's."""
    split = costs(lives, stays)
    for cost in split.replicas.values():
        assert min(cost.rent_nano, cost.share_nano, cost.idle_nano, cost.cold_nano, cost.waste_nano) >= 0
    assert all(nano >= 0 for nano in split.attempts.values())


@given(MANY_LIVES, MANY_STAYS, st.lists(st.integers(0, END_MS // WINDOW_MS), min_size=2, unique=True))
def test_periods_that_meet_at_whole_windows_add_up(lives: list[Life], stays: list[Stay], cuts: list[int]):
    """Six hours and eighteen are a day: in every part, and for every attempt."""
    edges = sorted(cut * WINDOW_MS for cut in cuts)
    pieces = [costs(lives, stays, *edge) for edge in pairwise(edges)]
    whole = costs(lives, stays, edges[0], edges[-1])
    assert sum((cost for piece in pieces for cost in piece.replicas.values()), Cost()) == sum(
        whole.replicas.values(), Cost()
    )
    assert sum((piece.attempts for piece in pieces), Counter()) == +whole.attempts


@given(MANY_LIVES, MANY_STAYS, TIMES)
def test_rent_adds_up_wherever_a_period_is_cut(lives: list[Life], stays: list[Stay], cut_ms: int):
    """Time into money is rounded at fixed times, not at a period's ends."""
    early, late = costs(lives, stays, -5_000, cut_ms), costs(lives, stays, cut_ms, END_MS + 15_000)
    whole = sum(costs(lives, stays, -5_000, END_MS + 15_000).replicas.values(), Cost())
    parts = [*early.replicas.values(), *late.replicas.values()]
    assert sum(cost.rent_nano for cost in parts) == whole.rent_nano
    assert sum(cost.cold_nano for cost in parts) == whole.cold_nano


@given(MANY_LIVES, MANY_STAYS, st.randoms())
def test_order_does_not_matter(lives: list[Life], stays: list[Stay], random):
    """A table of the same rows is the same table."""
    before = costs(lives, stays)
    random.shuffle(lives)
    random.shuffle(stays)
    assert costs(lives, stays) == before


@given(MANY_STAYS)
def test_nobody_is_more_than_one_nano_dollar_a_window_from_the_exact_share(stays: list[Stay]):
    """Against the integral of dt / in_flight(t) in fractions, over all of the period at once."""
    stays = [replace(stay, replica_id="r") for stay in stays]
    split = costs([life()], stays)
    edges = sorted({0, END_MS, *(at for stay in stays for at in (stay.from_ms, stay.to_ms) if 0 < at < END_MS)})
    exact: Counter = Counter()
    for from_ms, to_ms in pairwise(edges):
        there = [stay for stay in stays if stay.from_ms <= from_ms and to_ms <= stay.to_ms]
        for one in there:
            exact[one.request_id, one.attempt] += Fraction(H200 * (to_ms - from_ms), HOUR_MS * len(there))
    for one in stays:
        # One by the largest remainder, one by the rounding of the busy time itself, in each of six windows.
        assert abs(split.attempts[one.request_id, one.attempt] - exact[one.request_id, one.attempt]) < 2 * 6
