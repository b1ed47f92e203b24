"""The price of a request in replica-seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaling.work import A100_7B, Size, WorkModel

tokens = st.integers(0, 50_000)
sizes = st.builds(Size, patches=tokens, vision_tokens=tokens, text_tokens=tokens, output_tokens=tokens)


def test_the_published_throughput_of_an_a100_is_what_the_default_says():
    """1680x2240 pixels are 4,800 vision tokens; with 128 output tokens and 64 of text: 0.7 requests a second."""
    assert 1 / A100_7B.work_s(Size(vision_tokens=4_800, text_tokens=64, output_tokens=128)) == pytest.approx(
        0.7, abs=0.05
    )


@given(sizes, sizes)
def test_a_larger_request_is_never_less_work(one: Size, more: Size):
    both = Size(*(getattr(one, name) + getattr(more, name) for name in Size.__slots__))
    assert A100_7B.work_s(both) >= A100_7B.work_s(one)


def test_a_fit_finds_the_costs_that_made_the_points():
    model = WorkModel(0.05, 1e-5, 2e-4, 4e-5, 2e-3)
    points = [
        (size, model.work_s(size))
        for patches in (100, 900)
        for vision in (50, 700)
        for text in (10, 400)
        for output in (5, 80)
        for size in [Size(patches, vision, text, output)]
    ]
    fitted = WorkModel.fit(points)
    for size, work_s in points:
        assert fitted.work_s(size) == pytest.approx(work_s)


def test_no_fitted_cost_is_below_zero():
    points = [
        (Size(vision_tokens=vision, output_tokens=output), 1.0 - 1e-4 * vision)
        for vision in (0, 500, 900)
        for output in (1, 9)
    ]
    assert WorkModel.fit(points).vision_token_s == 0


def test_a_size_that_never_varies_is_part_of_the_request():
    points = [(Size(vision_tokens=vision, output_tokens=128), 0.3 + 2e-4 * vision) for vision in (0, 400, 4_800)]
    fitted = WorkModel.fit(points)
    assert (fitted.request_s, fitted.output_token_s) == (pytest.approx(0.3), 0)


@pytest.mark.parametrize("points", [[], [(Size(), 1.0), (Size(1, 2, 3, 4), 2.0)]])
def test_too_few_points_are_refused(points: list[tuple[Size, float]]):
    with pytest.raises(ValueError, match="apart"):
        WorkModel.fit(points)
