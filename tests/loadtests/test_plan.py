import numpy as np
import pytest

from autoscaling.simulator.trace import Trace
from loadtests.plan import IMAGE_TOKENS_MAX, Mix, plan, share


def trace(t_s: list[float], vision_tokens: int = 405) -> Trace:
    count = len(t_s)
    return Trace.of("a trace", np.array(t_s), np.full(count, vision_tokens), np.full(count, 20), np.full(count, 900))


def test_requests_are_left_out_to_come_to_the_rate():
    planned = plan(trace([*range(10_000)]), Mix(rate=0.1, seconds=1_000))
    assert len(planned) == 100
    assert planned[0].at_s == 0
    assert planned[-1].at_s < 1_000


def test_a_trace_that_is_too_slow_runs_faster():
    gaps = np.diff([request.at_s for request in plan(trace([*range(1_001)]), Mix(rate=10, seconds=50))])
    assert gaps == pytest.approx(0.1, rel=0.01)


def test_a_burst_stays_a_burst():
    bursts = [second + part / 100 for second in range(0, 1_000, 10) for part in range(10)]
    gaps = np.diff([request.at_s for request in plan(trace(bursts), Mix(rate=1.0, seconds=200))])
    assert max(gaps) > 100 * np.median(gaps)


def test_a_trace_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="shorter than"):
        plan(trace([0, 1, 2]), Mix(rate=10, seconds=10))


@pytest.mark.parametrize(
    ("vision_tokens", "images"), [(0, 0), (1, 1), (IMAGE_TOKENS_MAX, 1), (IMAGE_TOKENS_MAX + 1, 2), (10**6, 8)]
)
def test_many_vision_tokens_are_several_images(vision_tokens: int, images: int):
    (first, *_) = plan(trace([0, 1, 2], vision_tokens), Mix(rate=2, seconds=1))
    assert len(first.pictures) == images


def test_a_picture_has_about_the_pixels_of_its_tokens():
    (first, *_) = plan(trace([0, 1, 2], 400), Mix(rate=2, seconds=1))
    assert first.pictures[0][0] == 20 * 28


def test_pictures_are_unique_unless_repeats_are_asked_for():
    seeds = {
        repeats: {request.pictures[0] for request in plan(trace([*range(200)]), Mix(1.1, 150, repeats=repeats))}
        for repeats in (0.0, 0.9)
    }
    assert len(seeds[0.0]) > 150
    assert len(seeds[0.9]) < 40


def test_everything_is_capped_for_a_small_model():
    caps = Mix(rate=2, seconds=1, side_px_max=112, text_tokens_max=8, output_tokens_max=16)
    (first, *_) = plan(trace([0, 1, 2], 1_000), caps)
    assert first.pictures[0][0] == 112
    assert first.text_tokens == 8
    assert first.output_tokens == 16


def test_a_few_keys_send_most():
    sent = np.bincount([request.key for request in plan(trace([*range(1000)]), Mix(1, 900, keys=10))], minlength=10)
    assert sent[0] > 3 * sent[5] > 0


def test_the_same_seed_makes_the_same_plan():
    assert plan(trace([*range(50)]), Mix(1, 40, seed=3)) == plan(trace([*range(50)]), Mix(1, 40, seed=3))


def test_load_generators_together_send_everything_once():
    planned = plan(trace([*range(50)]), Mix(1, 40))
    sent = [request for index in range(3) for request in share(planned, index, 3)]
    assert sorted(sent, key=lambda request: request.at_s) == planned
