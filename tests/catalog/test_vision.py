import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from catalog import load_catalog
from catalog.vision import (
    InternVl2,
    Llava,
    Moondream,
    NoVideo,
    PaliGemma,
    Qwen2Vl,
    Seen,
    SmolVlm2,
    UnsupportedSize,
    Vision,
)

# Sizes of note, and random ones as the engines' own code sees them (`engine_vectors.py`).
HERE = Path(__file__).parent
GROUPS = [
    group for file in ("design_vectors.json", "engine_vectors.json") for group in json.loads((HERE / file).read_text())
]
CARDS = list(load_catalog())
QWEN = Qwen2Vl(family="qwen2_vl", pixels_min=3_136, pixels_max=1_003_520)
QWEN_WIDE = Qwen2Vl(family="qwen2_vl", pixels_min=3_136, pixels_max=12_845_056)
INTERNVL = InternVl2(family="internvl2", tiles_max=12)
SMOL = SmolVlm2(family="smolvlm2", long_edge_px=1_536, tile_px=384, patch_px=14, shuffle=3)


def vision(settings: dict[str, Any]) -> Vision:
    return TypeAdapter(Vision).validate_python(settings)


def settings_of(group: dict[str, Any]) -> str:
    return "-".join(map(str, group["vision"].values()))


@st.composite
def sizes(draw: st.DrawFn, ratio_max: int = 100) -> tuple[int, int]:
    """Width and height, from one pixel and a square to poster and strip."""
    short = draw(st.integers(1, 5_000))
    both = short, min(short * draw(st.integers(100, ratio_max * 100)) // 100, 20_000)
    return both if draw(st.booleans()) else both[::-1]


VISIONS = st.sampled_from([card.vision for card in CARDS if card.accelerators.count] + [QWEN_WIDE])


@pytest.mark.parametrize("group", GROUPS, ids=settings_of)
def test_a_formula_equals_the_models_own_processor(group: dict[str, Any]):
    """Resized width and height, vision tokens and encoder patches, of every size on record."""
    family = vision(group["vision"])
    for width, height, *seen in group["images"]:
        assert family.see(width, height) == Seen(*seen)


@given(VISIONS, sizes(ratio_max=8))
def test_no_image_is_more_than_the_most(family: Vision, size: tuple[int, int]):
    """The bounds by which memory is reckoned."""
    seen = family.see(*size)
    assert 0 < seen.vision_tokens <= family.vision_tokens_max
    assert 0 < seen.encoder_patches <= family.encoder_patches_max


@given(VISIONS, sizes(), st.integers(334, 20_000))
def test_what_was_shrunk_is_seen_as_it_was_reckoned(family: Vision, size: tuple[int, int], tokens_max: int):
    """The engine's processor makes of the shrunk image what the price was made from."""
    seen, whole = family.see_within(*size, tokens_max), family.see(*size)
    assert seen.vision_tokens <= whole.vision_tokens
    assert seen.encoder_patches <= whole.encoder_patches
    if seen != whole:
        # Moondream saves its encoder work; what its language model sees is always as much.
        assert seen.vision_tokens <= tokens_max or isinstance(family, Moondream)
        assert family.see(seen.width_px, seen.height_px) == seen


@given(VISIONS, sizes(ratio_max=8))
def test_what_is_enough_of_an_image_is_seen_alike(family: Vision, size: tuple[int, int]):
    """Never larger than the image, and never less or more work than the whole."""
    width, height = family.enough(*size)
    assert 0 < width <= size[0]
    assert 0 < height <= size[1]
    assert family.see(width, height) == family.see(*size)


@pytest.mark.parametrize(
    ("family", "size", "enough"),
    [
        (QWEN, (4_000, 3_000), (1_148, 840)),
        (QWEN, (112, 112), (112, 112)),
        (QWEN, (30, 30), (30, 30)),  # it is enlarged by the processor alone
        (SMOL, (4_000, 3_000), (1_536, 1_152)),
        (SMOL, (640, 480), (640, 480)),
        (INTERNVL, (4_000, 3_000), (1_792, 1_344)),
        (Llava(family="llava"), (4_000, 3_000), (448, 336)),  # the middle of it is cut out later
        (PaliGemma(family="paligemma", input_px=224), (4_000, 3_000), (224, 224)),
        (PaliGemma(family="paligemma", input_px=224), (4_000, 100), (4_000, 100)),
    ],
)
def test_what_is_enough_is_the_first_step_of_the_processor(
    family: Vision, size: tuple[int, int], enough: tuple[int, int]
):
    """As the processors' own code resizes; what would be enlarged is left alone."""
    assert family.enough(*size) == enough


@pytest.mark.parametrize(("tokens_max", "crops"), [(728, 1), (729, 9)])
def test_moondream_asked_for_less_encodes_one_crop(tokens_max: int, crops: int):
    """And the whole image once more, as always; its vision tokens stay as many."""
    seen = Moondream(family="moondream2").see_within(640, 480, tokens_max)
    assert (seen.vision_tokens, seen.encoder_patches) == (729, 729 * (crops if crops > 1 else 2))


def test_a_long_strip_costs_moondream_more_than_its_most():
    """Its own code goes beyond its 12 crops, and so does the formula: what is computed is paid."""
    seen = Moondream(family="moondream2").see(20_000, 400)
    assert seen.encoder_patches == (21 + 1) * 729  # sqrt(12 / (2 * 75)) * 75 = 21.2 columns


@pytest.mark.parametrize(("width_px", "height_px"), [(201, 1), (1, 201), (28 * 200 + 1, 28)])
def test_qwen_refuses_a_strip(width_px: int, height_px: int):
    """One side may be 200 times the other, not more."""
    with pytest.raises(UnsupportedSize, match="more than 200 times"):
        QWEN_WIDE.see(width_px, height_px)
    QWEN_WIDE.see(min(width_px, height_px * 200), min(height_px, width_px * 200))


@given(st.sampled_from([QWEN, QWEN_WIDE]), sizes(ratio_max=200))
def test_qwen_keeps_the_pixels_within_their_bounds(family: Qwen2Vl, size: tuple[int, int]):
    """Whole vision tokens of 28 x 28 px, as many as the area has."""
    seen = family.see(*size)
    assert seen.width_px % 28 == seen.height_px % 28 == 0
    assert family.pixels_min <= seen.width_px * seen.height_px <= family.pixels_max
    assert seen.vision_tokens == seen.width_px * seen.height_px / 784


# Beyond 100 : 1 rounding can make a strip that the processor itself refuses.
@given(st.sampled_from([QWEN, QWEN_WIDE]), sizes())
def test_qwen_leaves_a_resized_image_alone(family: Qwen2Vl, size: tuple[int, int]):
    """So an image that the gateway has shrunk costs what the gateway reckoned for the original."""
    seen = family.see(*size)
    assert family.see(seen.width_px, seen.height_px) == seen


@pytest.mark.parametrize("tiles", [1, 2, 4, 6, 9, 12])
def test_internvl2_leaves_an_image_of_whole_tiles_alone(tiles: int):
    """Every grid that a smaller limit can choose is chosen again under the larger one."""
    for columns in range(1, tiles + 1):
        rows = tiles // columns
        seen = INTERNVL.see(columns * 448, rows * 448)
        assert (seen.width_px, seen.height_px) == (columns * 448, rows * 448)


@pytest.mark.parametrize("tokens_max", [256, 334, 512, 1_280])
def test_internvl2_shows_at_least_one_tile(tokens_max: int):
    """And the thumbnail only where it fits as well."""
    for size in [(640, 480), (4_000, 3_000), (3_000, 200), (1, 1)]:
        assert 256 <= INTERNVL.see_within(*size, tokens_max).vision_tokens <= max(256, tokens_max)


@pytest.mark.parametrize(
    ("frames", "width_px", "height_px", "pixels_max", "vision_tokens"),
    [  # ceil(frames / 2) grids; the first five were checked in vLLM 0.32
        (8, 640, 480, 1_003_520, 1_564),  # 4 * 391
        (9, 640, 480, 1_003_520, 1_955),  # 5 * 391: the odd frame is repeated
        (16, 640, 480, 1_003_520, 3_128),
        (8, 1920, 1080, 1_003_520, 4_888),
        (8, 1920, 1080, 602_112, 2_880),
        (32, 1920, 1080, 12_845_056, 43_056),
        (32, 640, 480, 12_845_056, 6_256),
        (32, 1920, 1080, 602_112, 11_520),
        (1, 640, 480, 1_003_520, 391),
    ],
)
def test_qwen_merges_two_frames_of_a_video(
    frames: int, width_px: int, height_px: int, pixels_max: int, vision_tokens: int
):
    """Every frame within the bounds of an image."""
    family = QWEN.model_copy(update={"pixels_max": pixels_max})
    seen = family.see_video(frames, width_px, height_px)
    assert (seen.vision_tokens, seen.encoder_patches) == (vision_tokens, 4 * vision_tokens)


@pytest.mark.parametrize(
    ("family", "vision_tokens", "encoder_patches"),
    [(INTERNVL, 8 * 256, 8 * 1_024), (SMOL, 8 * 81, 8 * 729)],
)
def test_a_frame_is_one_tile_where_images_have_many(family: Vision, vision_tokens: int, encoder_patches: int):
    """Whatever its size."""
    seen = family.see_video(8, 1_920, 1_080)
    assert (seen.vision_tokens, seen.encoder_patches) == (vision_tokens, encoder_patches)


def test_a_family_without_video_says_so():
    """Nothing is made up for it."""
    with pytest.raises(NoVideo):
        Moondream(family="moondream2").see_video(8, 640, 480)
