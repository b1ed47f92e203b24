from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.search import Bounds, NoRate, Point, best_point, judge, next_rate
from loadtests.record import Record
from loadtests.slo import Slo
from loadtests.stream import Measured

BOUNDS = Bounds(start=1, lowest=0.1, highest=100, ratio=1.1)


def point(rate: float, *, kept: bool) -> Point:
    return Point(rate, 1.0 if kept else 0.5, kept, rate, 100, 10, 1)


def points(kept: list[float], failed: list[float]) -> list[Point]:
    return [*(point(rate, kept=True) for rate in kept), *(point(rate, kept=False) for rate in failed)]


@pytest.mark.parametrize(
    ("kept", "failed", "rate"),
    [
        ([], [], 1),  # where it begins
        ([1], [], 2),  # doubled while it is kept
        ([1, 2, 4], [], 8),
        ([], [1], 0.5),  # halved while it is not
        ([], [1, 0.5], 0.25),
        ([1, 2], [8], 4),  # then the geometric mean
        ([4], [9], 6),
        ([1, 10], [10.9], None),  # until the gap is narrow
        ([1, 9], [4], 2),  # what was kept above a failure was luck
    ],
)
def test_the_next_rate_follows_from_the_points(kept: list[float], failed: list[float], rate: float | None):
    assert next_rate(points(kept, failed), BOUNDS) == (rate and pytest.approx(rate))


@pytest.mark.parametrize(("kept", "failed", "says"), [([], [0.15], "too slow"), ([64], [], "still kept")])
def test_a_search_without_an_end_says_why(kept: list[float], failed: list[float], says: str):
    with pytest.raises(NoRate, match=says):
        next_rate(points(kept, failed), BOUNDS)


@given(capacity=st.floats(0.2, 60))
def test_what_is_found_is_just_below_what_a_server_can_do(capacity: float):
    """A server that keeps its SLO up to an unknown rate, and never above it."""
    seen: list[Point] = []
    while (rate := next_rate(seen, BOUNDS)) is not None:
        seen.append(point(rate, kept=rate <= capacity))
    best = best_point(seen)
    assert best
    assert best.rate <= capacity <= best.rate * BOUNDS.ratio
    assert len(seen) < 16
    assert all(first.rate != second.rate for first, second in pairwise(seen))


@pytest.mark.parametrize(
    ("kept", "failed", "best"), [([], [], None), ([], [1], None), ([1, 2], [], 2), ([1, 2, 8], [4], 2)]
)
def test_the_best_point_is_below_every_failure(kept: list[float], failed: list[float], best: float | None):
    found = best_point(points(kept, failed))
    assert (found and found.rate) == best


SLO = Slo(ttft_ms=200, tpot_ms=20, goodput_min=0.75)
GOOD = Record(0, 1, 0, Measured(100, 180, output_tokens=5))
LATE = Record(0, 3, 0, Measured(300, 380, output_tokens=5))
LEFT = Record(0, 2, 0, failure="too slow")


@pytest.mark.parametrize(
    ("records", "kept", "images_per_s"),
    [([GOOD] * 4, True, 8), ([GOOD, GOOD, GOOD, LATE], True, 6), ([GOOD, GOOD, LATE, LEFT], False, 4)],
)
def test_only_images_within_the_slo_count(records: list[Record], kept: bool, images_per_s: float):
    judged = judge(records, 8, SLO)
    assert (judged.kept, judged.images_per_s) == (kept, images_per_s)


@pytest.mark.parametrize(
    ("e2e_ms", "images_per_s"),
    [
        ([100, 100, 100, 100, 100], 8),  # answers end as they were asked for
        ([100, 225, 350, 475, 600], 4),  # each waits longer than the one before
        ([600, 475, 350, 225, 100], 8),  # never more than was offered
    ],
)
def test_a_queue_that_grows_within_the_slo_is_no_throughput(e2e_ms: list[float], images_per_s: float):
    """One request every 125 ms."""
    records = [Record(n / 8, 1, 0, Measured(50, ms, output_tokens=100)) for n, ms in enumerate(e2e_ms)]
    judged = judge(records, 8, SLO)
    assert (judged.kept, judged.images_per_s) == (True, pytest.approx(images_per_s))


def test_a_step_without_an_answer_has_no_times():
    judged = judge([LEFT, LEFT], 8, SLO)
    assert (judged.goodput, judged.ttft_p95_ms, judged.tpot_p95_ms, judged.lag_p99_ms) == (0, None, None, 2)
