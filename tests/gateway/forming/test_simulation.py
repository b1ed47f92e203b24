"""What forming is for, on a model of an engine in virtual time; `benchmarks/batching.py` measures the same on a real one."""

from catalog.card import Slo
from deployments.gateway.forming import Demand
from tests.gateway.forming.simulation import THUMBNAIL, Outcome, arrivals, percentile_s, run, simulated

SECONDS = 60.0
# The ten seconds for which any queue is a burst, and as many until what waited then has left.
BURST_OVER_S = 20.0


def of_size(outcomes: list[Outcome], tokens: int) -> list[Outcome]:
    return [one for one in outcomes if one.demand.tokens == tokens]


def test_thumbnails_do_not_wait_for_pages_and_nothing_is_lost():
    """Nine to one, at 95% of what the engine can do: half of the time at most, and all of them answered as before."""
    asks = arrivals(0.95, SECONDS)
    plain, forming = (simulated(run(asks, forms=forms)) for forms in (False, True))
    assert 2 * percentile_s(of_size(forming, THUMBNAIL), 0.95) <= percentile_s(of_size(plain, THUMBNAIL), 0.95)
    answered = [sum(one.ttft_s is not None for one in outcomes) for outcomes in (forming, plain)]
    assert answered[0] >= 0.97 * answered[1]


def test_a_tenant_that_floods_delays_itself():
    """Twice what the engine can do from one; one request a second from the other."""
    flood = arrivals(2.0, SECONDS)
    quiet = [(Demand("b", THUMBNAIL), float(second)) for second in range(int(SECONDS))]
    plain, forming = (simulated(run(flood + quiet, forms=forms))[len(flood) :] for forms in (False, True))
    assert all(one.ttft_s is not None for one in forming)
    assert 2 * percentile_s(forming, 0.95) <= percentile_s(plain, 0.95)


def test_goodput_holds_under_overload():
    """In tokens: at twice the capacity what it is at its peak, once a burst has turned out to be none, and at three times
    little less; what is admitted then begins in time.
    """
    good, admitted = {}, {}
    for load in (0.5, 1.0, 1.5, 2.0, 3.0):
        outcomes = simulated(run(arrivals(load, SECONDS), forms=True))
        lasting = [one for one in outcomes if one.due_s > BURST_OVER_S]
        good[load] = sum(one.demand.tokens for one in lasting if one.is_good(Slo()))
        admitted[load] = percentile_s(lasting, 0.95)
    assert good[2.0] >= 0.95 * max(good.values())
    assert good[3.0] >= 0.9 * max(good.values())
    assert max(admitted[2.0], admitted[3.0]) <= 2.0
