"""What one gateway holds at once, by key and by tenant."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from accounting.key import KeyRecord, Scope, mint
from accounting.limits import RateLimits
from deployments.gateway.arrivals import ArrivalLimits, Arrivals
from deployments.gateway.errors import RateLimited


def record(project: str = "project", concurrency: int | None = None) -> KeyRecord:
    _, made = mint("org", project, "key", (Scope.INFERENCE,))
    return replace(made, limits=RateLimits(concurrency=concurrency))


KEY = record()


def test_a_key_with_a_concurrency_has_a_few_more_in_a_gateway_at_most():
    """Twice as many and four: a retry may overtake its first try. The next is refused before its body is read."""
    arrivals, limited = Arrivals(ArrivalLimits()), record(concurrency=2)
    with ExitStack() as running:
        for _ in range(8):
            running.enter_context(arrivals.arrive(limited))
        with pytest.raises(RateLimited) as refused, arrivals.arrive(limited):
            pass
        assert (refused.value.param, refused.value.retry_after_s) == ("concurrency", 1)
        with arrivals.arrive(record()):
            pass
    with arrivals.arrive(limited):
        pass


def test_a_tenant_leaves_room_for_others():
    arrivals = Arrivals(ArrivalLimits(requests_max=4))
    with ExitStack() as running:
        for _ in range(3):
            running.enter_context(arrivals.arrive(KEY))
        with pytest.raises(RateLimited) as refused, arrivals.arrive(KEY):
            pass
        assert refused.value.param == "requests_in_flight"
        with arrivals.arrive(record("other")):
            pass


def test_bytes_are_counted_as_they_come_and_until_the_request_ends():
    arrivals = Arrivals(ArrivalLimits(bytes_max=100))
    with arrivals.arrive(KEY) as first, arrivals.arrive(KEY) as second:
        first.grow(75)
        with pytest.raises(RateLimited) as refused:
            second.grow(10)
        assert refused.value.param == "bytes_in_flight"
        with arrivals.arrive(record("other")) as other:
            other.grow(10)
        first.end()
        second.grow(30)
    with arrivals.arrive(KEY) as third:
        third.grow(75)


def test_a_request_that_is_refused_counts_nothing():
    """However it ends."""
    arrivals = Arrivals(ArrivalLimits(requests_max=1, bytes_max=10))
    with pytest.raises(RateLimited), arrivals.arrive(KEY) as arrival:
        arrival.grow(11)
    with arrivals.arrive(KEY) as arrival:
        arrival.grow(10)
