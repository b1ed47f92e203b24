from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.benefit import curve, with_present


def test_each_replica_gains_what_is_served_more_with_it() -> None:
    assert curve(np.array([1.0, 2.0, 3.0]), np.array([50.0, 80.0, 90.0]), want=2) == (50, 30, 10, 0)


def test_replicas_that_only_help_together_share_the_gain() -> None:
    assert curve(np.array([1.0, 2.0]), np.array([0.0, 60.0]), want=1) == (30, 30, 0)


@given(
    st.lists(
        st.tuples(st.floats(0.1, 50), st.floats(0, 1e4)), min_size=1, max_size=20, unique_by=lambda point: point[0]
    ),
    st.integers(0, 40),
)
def test_no_replica_gains_more_than_the_one_before_it(points: list[tuple[float, float]], want: int) -> None:
    replicas, served = (np.array(column) for column in zip(*sorted(points), strict=True))

    gains = curve(replicas, served, want)

    assert all(first >= second - 1e-5 and second >= -1e-5 for first, second in pairwise(gains))
    assert sum(gains) <= served.max() + 1e-3


def test_the_curve_goes_beyond_what_is_wanted() -> None:
    assert len(curve(np.array([1.0]), np.array([1.0]), want=100)) == 126


def test_what_is_here_now_counts_as_it_is() -> None:
    """Work for three replicas, six thousand requests an hour: whatever is usual."""
    assert with_present((), 2.2, 6000.0) == (2000.0,) * 3
    assert with_present((9000.0, 500.0, 400.0, 300.0), 2.2, 6000.0) == (9000.0, 2000.0, 2000.0, 300.0)
    assert with_present((500.0, 400.0), 0.0, 0.0) == (500.0, 400.0)


@given(
    st.lists(st.floats(0, 1e4), max_size=8).map(lambda gains: tuple(sorted(gains, reverse=True))),
    st.floats(0, 10),
    st.floats(0, 1e5),
)
def test_the_present_leaves_the_order(gains: tuple[float, ...], replicas: float, requests: float) -> None:
    now = with_present(gains, replicas, requests)
    assert all(first >= second for first, second in pairwise(now))
    assert all(after >= before for after, before in zip(now, gains, strict=False))
