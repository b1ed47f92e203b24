import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.card import Family, Vision
from catalog.vision_tokens import Resized, UnsupportedSize, resize

# Sizes, and what the model's own processor makes of them.
VECTORS = json.loads(Path(__file__).with_name("qwen2_vl_vectors.json").read_text())

# The processor's own bounds, and the smaller ones that models are served with.
VISIONS = st.builds(
    Vision,
    family=st.just(Family.QWEN2_VL),
    pixels_min=st.just(3_136),
    pixels_max=st.sampled_from([12_845_056, 1_003_520]),
)


@st.composite
def sizes(draw: st.DrawFn, ratio_max: int) -> tuple[int, int]:
    """Width and height, from one pixel and a square to poster and strip."""
    short = draw(st.integers(1, 5_000))
    both = short, min(short * draw(st.integers(100, ratio_max * 100)) // 100, 20_000)
    return both if draw(st.booleans()) else both[::-1]


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: f"{row['width_px']}x{row['height_px']}-{row['pixels_max']}")
def test_qwen2_vl_equals_its_processor(row: dict[str, int]):
    """Sizes and vision tokens are those of the model's own processor."""
    vision = Vision(family=Family.QWEN2_VL, pixels_min=row["pixels_min"], pixels_max=row["pixels_max"])
    assert resize(vision, row["width_px"], row["height_px"]) == Resized(
        row["resized_width_px"], row["resized_height_px"], row["vision_tokens"]
    )


@pytest.mark.parametrize(("width_px", "height_px"), [(201, 1), (1, 201), (28 * 200 + 1, 28)])
def test_qwen2_vl_refuses_a_strip(width_px: int, height_px: int):
    """One side may be 200 times the other, not more."""
    vision = Vision(family=Family.QWEN2_VL, pixels_min=3_136, pixels_max=12_845_056)
    with pytest.raises(UnsupportedSize, match="more than 200 times"):
        resize(vision, width_px, height_px)
    resize(vision, min(width_px, height_px * 200), min(height_px, width_px * 200))


@given(VISIONS, sizes(ratio_max=200))
def test_qwen2_vl_keeps_the_pixels_within_their_bounds(vision: Vision, size: tuple[int, int]):
    """Whole vision tokens of 28 x 28 px, as many as the area has."""
    resized = resize(vision, *size)
    assert resized.width_px % 28 == resized.height_px % 28 == 0
    assert vision.pixels_min <= resized.width_px * resized.height_px <= vision.pixels_max
    assert resized.vision_tokens == resized.width_px * resized.height_px / 784


# Beyond 100 : 1 rounding can make a strip that the processor itself refuses.
@given(VISIONS, sizes(ratio_max=100))
def test_qwen2_vl_leaves_a_resized_image_alone(vision: Vision, size: tuple[int, int]):
    """So an image that the gateway has shrunk costs what the gateway computed for the original."""
    resized = resize(vision, *size)
    assert resize(vision, resized.width_px, resized.height_px) == resized
