"""A room that tenants share."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.shares import Full, Shares

SIZE = 100


def filled(shares: Shares, tenant: str) -> int:
    """How many units this tenant gets, one after the other."""
    taken = 0
    while shares.fits(tenant):
        shares.take(tenant)
        taken += 1
    return taken


def test_each_tenant_gets_what_is_left_for_it():
    """One alone three quarters; who comes later three quarters of the rest, and there is a rest for a fourth."""
    shares = Shares(SIZE)
    assert [filled(shares, tenant) for tenant in "abcd"] == [75, 19, 5, 1]


def test_two_that_come_together_get_the_same():
    """Three sevenths."""
    shares = Shares(SIZE)
    held = {"a": 0, "b": 0}
    while any(shares.fits(tenant) for tenant in held):
        for tenant in held:
            if shares.fits(tenant):
                shares.take(tenant)
                held[tenant] += 1
    assert abs(held["a"] - held["b"]) <= 1
    assert 42 <= held["a"] <= 44


def test_more_than_there_is_is_refused_and_takes_nothing():
    shares = Shares(SIZE)
    with pytest.raises(Full):
        shares.take("a", SIZE + 1)
    shares.take("a", SIZE)


def test_a_unit_is_given_back_however_its_block_ends():
    shares = Shares(1)
    with suppress(RuntimeError), shares.held("a"):
        assert not shares.fits("b")
        raise RuntimeError
    assert shares.fits("b")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, SIZE)), max_size=60))
def test_what_was_taken_is_free_again_once_it_is_given_back(wishes: list[tuple[str, int]]):
    """And never more than the room's size is out."""
    shares, taken = Shares(SIZE), list[tuple[str, int]]()
    for tenant, amount in wishes:
        if shares.fits(tenant, amount):
            shares.take(tenant, amount)
            taken.append((tenant, amount))
        assert sum(amount for _, amount in taken) <= SIZE
    for tenant, amount in taken:
        shares.give(tenant, amount)
    shares.take("d", SIZE)
