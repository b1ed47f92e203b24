import numpy as np
import pytest

from autoscaling.simulator.trace import Trace
from loadtests.plan import IMAGE_TOKENS_MAX, Mix, plan, share


def trace(t_s: list[float], vision_tokens: int = 405) -> Trace:
    count = len(t_s)
    return Trace.of("a trace", np.array(t_s), np.full(count, vision_tokens), np.full(count, 20), np.full(count, 900))


def test_the_busiest_piece_is_stretched_to_the_rate_that_is_asked_for():
    planned = plan(trace([0, 100, 200, 201, 203, 400]), Mix(rate=0.3, seconds=10))
    assert [request.at_s for request in planned] == [0, pytest.approx(10 / 3), 10]


def test_a_burst_stays_a_burst():
    gaps = np.diff([request.at_s for request in plan(trace([0, 1, 1.1, 1.2, 9]), Mix(rate=0.5, seconds=10))])
    assert max(gaps) / min(gaps) == pytest.approx(78)


def test_a_trace_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="fewer seconds"):
        plan(trace([0, 1]), Mix(rate=10, seconds=10))


@pytest.mark.parametrize(
    ("vision_tokens", "images"), [(0, 0), (1, 1), (IMAGE_TOKENS_MAX, 1), (IMAGE_TOKENS_MAX + 1, 2), (10**6, 8)]
)
def test_many_vision_tokens_are_several_images(vision_tokens: int, images: int):
    (first, *_) = plan(trace([0, 1], vision_tokens), Mix(rate=1, seconds=2))
    assert len(first.pictures) == images


def test_a_picture_has_about_the_pixels_of_its_tokens():
    (first, *_) = plan(trace([0, 1], vision_tokens=400), Mix(rate=1, seconds=2))
    assert first.pictures[0][0] == 20 * 28


def test_pictures_are_unique_unless_repeats_are_asked_for():
    seeds = {
        repeats: {request.pictures[0] for request in plan(trace([*range(200)]), Mix(1, 200, repeats=repeats))}
        for repeats in (0.0, 0.9)
    }
    assert len(seeds[0.0]) == 200
    assert len(seeds[0.9]) < 60


def test_answers_and_pictures_are_capped_for_a_small_model():
    (first, *_) = plan(trace([0, 1], 1_000), Mix(rate=1, seconds=2, side_px_max=112, output_tokens_max=16))
    assert first.pictures[0][0] == 112
    assert first.output_tokens == 16


def test_a_few_keys_send_most():
    sent = np.bincount([request.key for request in plan(trace([*range(1000)]), Mix(1, 1000, keys=10))], minlength=10)
    assert sent[0] > 3 * sent[5] > 0


def test_the_same_seed_makes_the_same_plan():
    assert plan(trace([*range(50)]), Mix(1, 50, seed=3)) == plan(trace([*range(50)]), Mix(1, 50, seed=3))


def test_load_generators_together_send_everything_once():
    planned = plan(trace([*range(50)]), Mix(1, 50))
    sent = [request for index in range(3) for request in share(planned, index, 3)]
    assert sorted(sent, key=lambda request: request.at_s) == planned
