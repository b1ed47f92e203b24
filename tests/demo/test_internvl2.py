"""The committed demo InternVL2, and its card: what the one says of itself, the other promises."""

import json
from pathlib import Path

import pytest

from catalog import load_catalog
from demo.generate import SIZE_PX

CARD = load_catalog().find("demo-internvl2")
WEIGHTS = Path(str(CARD.source.path))
CONFIG = json.loads((WEIGHTS / "config.json").read_text())


def test_it_has_the_published_layout():
    """That LMDeploy serves, and Transformers' own InternVL has not."""
    assert CONFIG["architectures"] == ["InternVLChatModel"]
    assert CONFIG["llm_config"]["architectures"] == ["InternLM2ForCausalLM"]
    assert CONFIG["vision_config"]["architectures"] == ["InternVisionModel"]


@pytest.mark.parametrize(("width_px", "height_px"), [(112, 112), (640, 480), (1, 1), (300, 2000)])
def test_every_picture_is_priced_as_the_one_tile_that_it_becomes(width_px: int, height_px: int):
    seen = CARD.vision.see(width_px, height_px)
    patches = (CONFIG["force_image_size"] // CONFIG["vision_config"]["patch_size"]) ** 2
    assert (seen.width_px, seen.height_px) == (SIZE_PX, SIZE_PX)
    assert seen.encoder_patches == patches
    assert seen.vision_tokens == patches * CONFIG["downsample_ratio"] ** 2


def test_it_is_small_enough_to_commit():
    assert (WEIGHTS / "model.safetensors").stat().st_size < 15_000_000
