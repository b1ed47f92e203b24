"""Turns, counted in tokens."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.forming.demand import Demand
from deployments.gateway.forming.queue import QUANTUM_TOKENS, Backlog, Entry, FairQueue, size_class

SIZES = st.integers(1, 20_000)
DEMANDS = st.builds(Demand, st.sampled_from("abc"), SIZES, is_batch=st.booleans())


def queue_of(*demands: Demand) -> FairQueue:
    queue = FairQueue()
    for since_s, demand in enumerate(demands):
        queue.push(Entry(demand, float(since_s)))
    return queue


def drained(queue: FairQueue, count: int = 10**6) -> list[Demand]:
    """The next ones, in the order in which they go."""
    out: list[Demand] = []
    for is_batch in (False, True):
        while len(out) < count and queue.head(is_batch=is_batch):
            out.append(queue.pop(is_batch=is_batch).demand)
    return out


def test_one_tenants_equal_requests_go_in_order():
    demands = [Demand("a", 100, vision_tokens=i) for i in range(5)]
    assert drained(queue_of(*demands)) == demands


def test_a_tenant_that_floods_does_not_delay_another():
    """The one request of `b` came after ninety-nine of `a`."""
    queue = queue_of(*[Demand("a", QUANTUM_TOKENS)] * 99, Demand("b", QUANTUM_TOKENS))
    assert "b" in [demand.tenant for demand in drained(queue, 2)]


def test_thumbnails_do_not_wait_for_pages():
    """Of one tenant, too: sizes take turns, so the thumbnail passes all pages but one or two."""
    queue = queue_of(*[Demand("a", 1600)] * 50, Demand("a", 80))
    assert 80 in [demand.tokens for demand in drained(queue, 3)]


def test_pages_do_not_starve_either():
    """Half of the tokens are theirs, however many thumbnails there are."""
    queue = queue_of(*[Demand("a", 80)] * 1000, *[Demand("a", 1600)] * 10)
    first = drained(queue, 200)
    assert sum(demand.tokens == 1600 for demand in first) >= 8


def test_interactive_goes_before_batch():
    queue = queue_of(Demand("a", 10, is_batch=True), Demand("b", 10_000))
    assert [demand.is_batch for demand in drained(queue)] == [False, True]


def test_one_that_has_left_is_passed_over():
    queue = FairQueue()
    gone, stays = Entry(Demand("a", 10), 0.0), Entry(Demand("a", 20), 1.0)
    queue.push(gone)
    queue.push(stays)
    queue.remove(gone)
    assert (len(queue), queue.tokens(is_batch=False), queue.oldest_s()) == (1, 20, 1.0)
    assert queue.head(is_batch=False) is stays


def test_what_waits_is_counted_by_flow():
    """A flow is a tenant's requests of one size in one class."""
    queue = queue_of(Demand("a", 10), Demand("a", 5), Demand("a", 100), Demand("b", 7), Demand("a", 9, is_batch=True))
    assert queue.backlog(Demand("a", 12)) == Backlog(requests=2, tokens=15)
    assert queue.backlog(Demand("b", 100)) is None
    assert [queue.tokens(is_batch=is_batch) for is_batch in (False, True)] == [122, 9]
    drained(queue)
    assert (len(queue), queue.oldest_s(), queue.backlog(Demand("a", 10))) == (0, None, None)


def test_a_flow_has_its_part_of_its_tenants_part():
    queue = queue_of(Demand("a", 10), Demand("a", 100), Demand("b", 10))
    assert [queue.share(Demand(tenant, 10)) for tenant in "abc"] == [1 / 4, 1 / 2, 1 / 3]
    assert queue.share(Demand("b", 100)) == 1 / 4


@pytest.mark.parametrize(("tokens", "class_"), [(1, 1), (3, 1), (4, 2), (64, 4), (255, 4), (1024, 6), (4095, 6)])
def test_sizes_are_powers_of_four(tokens: int, class_: int):
    assert size_class(Demand("a", tokens)) == class_


@given(st.lists(DEMANDS, max_size=60), st.sets(st.integers(0, 59)))
def test_everyone_who_stays_goes_exactly_once(demands: list[Demand], leaving: set[int]):
    queue = FairQueue()
    entries = [Entry(demand, 0.0) for demand in demands]
    for entry in entries:
        queue.push(entry)
    for i in leaving & set(range(len(entries))):
        queue.remove(entries[i])
    stay = [entry.demand for entry in entries if not entry.gone]
    assert Counter(drained(queue)) == Counter(stay)
    assert len(queue) == 0


@given(st.lists(SIZES, min_size=1, max_size=40), st.lists(SIZES, min_size=1, max_size=40))
def test_two_tenants_that_wait_get_the_same_share(of_a: list[int], of_b: list[int]):
    """While both wait, neither is ahead of the other by more than its largest request and a quantum in each size."""
    queue = queue_of(*(Demand("a", tokens) for tokens in of_a), *(Demand("b", tokens) for tokens in of_b))
    left, got = Counter(a=len(of_a), b=len(of_b)), Counter[str]()
    while left["a"] and left["b"]:
        demand = queue.head(is_batch=False).demand  # type: ignore[union-attr]  # both have something waiting
        queue.pop(is_batch=False)
        left[demand.tenant] -= 1
        got[demand.tenant] += demand.tokens
        assert abs(got["a"] - got["b"]) <= max(of_a + of_b) + 2 * QUANTUM_TOKENS
