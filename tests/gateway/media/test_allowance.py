import pytest

from accounting.key import KeyRecord, Scope, mint
from deployments.gateway.errors import RateLimited
from deployments.gateway.media.allowance import SECONDS_MAX, WAIT_S_PER_SECOND, Allowance

_, KEY = mint("org", "project", "key", (Scope.INFERENCE,))
_, OTHER = mint("org", "project", "other", (Scope.INFERENCE,))


class Clock:
    s = 1_000.0

    def __call__(self) -> float:
        return self.s


def take(allowance: Allowance, spent_s: float, key: KeyRecord = KEY, *, pays: bool = False) -> None:
    """A request whose media take so long."""
    with allowance.effort(key) as effort:
        effort.check()
        effort.spent_s += spent_s
        effort.is_paid = pays


def test_a_key_may_take_so_much_for_nothing():
    """Then it waits, ten times as long as what it took beyond; other keys do not."""
    clock = Clock()
    allowance = Allowance(clock)
    for _ in range(2):
        take(allowance, SECONDS_MAX / 2 + 1)
    with pytest.raises(RateLimited) as refused:
        take(allowance, 1)
    assert refused.value.param == "media_seconds"
    assert refused.value.retry_after_s == 21
    take(allowance, 1, OTHER)
    clock.s += 2 * WAIT_S_PER_SECOND + 1
    take(allowance, 1)


def test_what_is_answered_is_paid_for():
    """However much it is."""
    allowance = Allowance(Clock())
    for _ in range(3):
        take(allowance, SECONDS_MAX + 1, pays=True)


def test_what_ends_in_an_error_is_counted():
    """A file that is refused, and a client that leaves."""

    def fail() -> None:
        with allowance.effort(KEY) as effort:
            effort.spent_s += SECONDS_MAX + 1
            raise KeyError

    allowance = Allowance(Clock())
    with pytest.raises(KeyError):
        fail()
    with pytest.raises(RateLimited):
        take(allowance, 1)


def test_a_request_is_stopped_in_its_course():
    """One that shows many files finds out before the next of them."""
    allowance = Allowance(Clock())
    with allowance.effort(KEY) as first, allowance.effort(KEY) as second, second.counted():
        first.spent_s += SECONDS_MAX + 1
    with allowance.effort(KEY) as late, pytest.raises(RateLimited), late.counted():
        pytest.fail("it was let in")
    assert late.spent_s == 0
