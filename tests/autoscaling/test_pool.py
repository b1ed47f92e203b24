import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.ask import Ask, Grant
from autoscaling.offer import Offer
from autoscaling.pool import DoesNotFit, Pool, check, share

L4 = Offer("L4", hourly_nano_usd=700_000_000)
A100 = Offer("A100", hourly_nano_usd=2_000_000_000)
PAIR = Offer("A100", gpus=2, hourly_nano_usd=4_000_000_000)


def granted(pool: Pool, *asks: Ask) -> dict[str, int]:
    return {model: grant.replicas for model, grant in share(pool, asks).items()}


def test_who_asks_for_what_there_is_gets_it() -> None:
    assert granted(Pool({"A100": 8}), Ask("a", A100, want=3), Ask("b", A100, want=5)) == {"a": 3, "b": 5}


def test_floors_come_before_all_else() -> None:
    urgent = Ask("urgent", A100, want=4, priority=100, benefits=(9.0,) * 4)

    assert granted(Pool({"A100": 4}), urgent, Ask("quiet", A100, want=1, floor=1)) == {"urgent": 3, "quiet": 1}


def test_floors_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(DoesNotFit, match="A100"):
        check(Pool({"A100": 4, "L4": 9}), [(A100, 3), (PAIR, 1)])
    with pytest.raises(DoesNotFit):
        share(Pool({"A100": 4}, hourly_nano_usd=3_000_000_000), [Ask("a", A100, want=2, floor=2)])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param({}, {}, {"a": 2, "b": 2}, id="equals share"),
        pytest.param({"benefits": (9.0, 9.0, 5.0, 3.0)}, {}, {"a": 3, "b": 1}, id="most violations avoided"),
        pytest.param({"priority": 5.0}, {}, {"a": 3, "b": 1}, id="priority"),
        pytest.param({"benefits": ()}, {}, {"a": 0, "b": 4}, id="no curve comes last"),
    ],
)
def test_replicas_go_where_they_are_worth_most(
    first: dict[str, float], second: dict[str, float], expected: dict[str, int]
) -> None:
    usual = {"offer": A100, "want": 4, "benefits": (8.0, 4.0, 2.0, 1.0)}

    assert granted(Pool({"A100": 4}), Ask("a", **usual | first), Ask("b", **usual | second)) == expected


def test_a_dollar_goes_to_the_cheaper_replica_of_equal_benefit() -> None:
    pool = Pool({"A100": 9, "L4": 9}, hourly_nano_usd=2_900_000_000)
    asks = [Ask("large", A100, want=4, benefits=(5.0,) * 4), Ask("small", L4, want=4, benefits=(5.0,) * 4)]

    assert granted(pool, *asks) == {"large": 0, "small": 4}


def test_a_gpu_on_its_way_is_granted_when_its_drain_has_ended() -> None:
    pool = Pool({"A100": 4})
    loser, gainer = Ask("loser", A100, want=1, holding=3), Ask("gainer", A100, want=3, holding=1)
    assert granted(pool, loser, gainer) == {"loser": 1, "gainer": 1}

    draining = Ask("loser", A100, want=1, holding=1, draining=2)
    assert granted(pool, draining, gainer) == {"loser": 1, "gainer": 1}

    drained = Ask("loser", A100, want=1, holding=1)
    assert granted(pool, drained, gainer) == {"loser": 1, "gainer": 3}


def test_a_start_that_has_not_paid_off_is_not_taken_back_for_more_benefit() -> None:
    young = Ask("young", A100, want=3, benefits=(1.0,) * 3, holding=3, unpaid=True)
    better = Ask("better", A100, want=4, benefits=(9.0,) * 4, holding=1)

    assert granted(Pool({"A100": 4}), young, better) == {"young": 3, "better": 1}


@pytest.mark.parametrize("better", [{"priority": 2.0}, {"floor": 4}], ids=["a higher priority", "a floor"])
def test_a_higher_priority_or_a_floor_takes_it_back(better: dict[str, float]) -> None:
    young = Ask("young", A100, want=3, benefits=(1.0,) * 3, holding=3, unpaid=True)

    assert granted(Pool({"A100": 4}), young, Ask("b", A100, want=4, benefits=(9.0,) * 4, **better))["young"] < 3


def test_batch_work_lives_on_what_is_left_and_goes_first() -> None:
    pool = Pool({"A100": 6})
    batch = Ask("batch", A100, want=1, benefits=(1.0,), batch=9, holding=5)
    quiet = Ask("live", A100, want=1, benefits=(5.0,) * 5, holding=1)
    assert share(pool, [batch, quiet]) == {"batch": Grant(1, batch=4), "live": Grant(1)}

    busy = Ask("live", A100, want=4, benefits=(5.0,) * 5, holding=1)
    assert share(pool, [batch, busy])["batch"] == Grant(1, batch=1)


def test_nobody_grows_in_a_pool_that_lost_a_node() -> None:
    assert granted(Pool({"A100": 3}), Ask("a", A100, want=4, holding=2), Ask("b", A100, want=4, holding=2)) == {
        "a": 2,
        "b": 1,
    }


offers = st.sampled_from([L4, A100, PAIR])
few = st.integers(0, 6)
asks = st.builds(
    Ask,
    model=st.sampled_from("abcdefgh"),
    offer=offers,
    want=st.integers(0, 12),
    floor=st.integers(0, 2),
    priority=st.sampled_from([0.5, 1.0, 4.0]),
    benefits=st.lists(st.floats(0, 100), max_size=12).map(lambda gains: tuple(sorted(gains, reverse=True))),
    holding=few,
    draining=few,
    unpaid=st.booleans(),
    batch=few,
)
pools = st.builds(
    Pool,
    gpus=st.fixed_dictionaries({"A100": st.integers(0, 40), "L4": st.integers(0, 20)}),
    hourly_nano_usd=st.one_of(st.none(), st.integers(0, 60_000_000_000)),
)


@given(pools, st.lists(asks, unique_by=lambda ask: ask.model))
def test_grants_never_exceed_the_pool_and_floors_hold(pool: Pool, asks: list[Ask]) -> None:
    try:
        grants = share(pool, asks)
    except DoesNotFit:
        return
    growth = {ask: max(grants[ask.model].replicas + grants[ask.model].batch - ask.holding, 0) for ask in asks}
    for gpu, there in pool.gpus.items():
        used = sum((ask.holding + ask.draining) * ask.offer.gpus for ask in asks if ask.offer.gpu == gpu)
        more = sum(count * ask.offer.gpus for ask, count in growth.items() if ask.offer.gpu == gpu)
        assert more == 0 or used + more <= there
    spent = sum((ask.holding + ask.draining + growth[ask]) * ask.offer.hourly_nano_usd for ask in asks)
    assert not any(growth.values()) or pool.hourly_nano_usd is None or spent <= pool.hourly_nano_usd
    for ask in asks:
        assert grants[ask.model].replicas <= ask.most
        assert grants[ask.model].replicas >= min(ask.floor, ask.holding)


@given(pools, st.lists(asks, unique_by=lambda ask: ask.model))
def test_what_is_entitled_fits_the_pool_with_all_floors(pool: Pool, asks: list[Ask]) -> None:
    settled = [Ask(ask.model, ask.offer, ask.want, ask.floor, ask.priority, ask.benefits) for ask in asks]
    try:
        grants = share(pool, settled)
    except DoesNotFit:
        return
    check(pool, [(ask.offer, grants[ask.model].replicas + grants[ask.model].batch) for ask in settled])
    assert all(grants[ask.model].replicas >= ask.floor for ask in settled)


@given(pools, st.lists(asks, unique_by=lambda ask: ask.model), st.randoms())
def test_the_order_of_asks_does_not_matter(pool: Pool, asks: list[Ask], random: st.DataObject) -> None:
    shuffled = sorted(asks, key=lambda ask: hash((ask.model, random.random())))
    try:
        assert share(pool, asks) == share(pool, shuffled)
    except DoesNotFit:
        with pytest.raises(DoesNotFit):
            share(pool, shuffled)
