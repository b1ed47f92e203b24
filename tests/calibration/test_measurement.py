import pytest

from calibration.load import Target, Unanswered
from calibration.measurement import REQUESTS_MIN, WARM_UP_REQUESTS, Effort, measure_points, requests_of
from calibration.search import Bounds
from calibration.workload import Standard
from loadtests.slo import Slo
from tests.calibration.scripted import right, serving

REQUEST = Standard("a-model", 28, 28, 1, 1, output_tokens=5)
PATIENT = Slo(ttft_ms=60_000, tpot_ms=60_000)
EFFORT = Effort(seconds=0.01, bounds=Bounds(start=500))
REFUSED = 429, b'{"error": {"message": "overloaded"}}'


@pytest.mark.parametrize(("rate", "seconds", "count"), [(10, 30, 300), (0.1, 30, REQUESTS_MIN)])
def test_a_step_has_enough_requests_to_judge_by(rate: float, seconds: float, count: int):
    assert requests_of(rate, seconds) == count


async def test_the_search_ends_at_what_the_server_takes():
    """Two steps are answered; in all that follow every second request is refused."""
    answered = WARM_UP_REQUESTS + 2 * REQUESTS_MIN
    told = []
    with serving(lambda n: (200, right(5)) if n < answered or n % 2 else REFUSED) as url:
        points = await measure_points(Target(url, ""), REQUEST, PATIENT, EFFORT, told.append)
    assert told == points
    assert [point.rate for point in points[:3]] == [500, 1000, 2000]
    assert [point.goodput for point in points] == [1, 1] + [0.5] * (len(points) - 2)
    assert points[-1].rate <= 1000 * EFFORT.bounds.ratio


async def test_a_server_that_is_gone_is_not_slow():
    with (
        serving(lambda n: (200, right(5)) if n < WARM_UP_REQUESTS else (502, b"")) as url,
        pytest.raises(Unanswered, match="status 502"),
    ):
        await measure_points(Target(url, ""), REQUEST, PATIENT, EFFORT, lambda point: None)
