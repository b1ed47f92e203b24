"""How many vision tokens an image takes: one pure function a family, from width and height alone.

A *vision token* is a position of the language model that an image fills, delimiters excluded. Every function here is
exact: it equals what the model's own processor does, so a price can be known before the engine sees the image.
"""

from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import assert_never

from catalog.card import Family, Vision

# Qwen2-VL: patches of 14 px, merged 2 x 2 into one vision token of 28 px.
QWEN2_VL_TOKEN_PX = 28
QWEN2_VL_ASPECT_RATIO_MAX = 200


class UnsupportedSize(ValueError):
    """An image has a shape that its model's processor refuses."""


@dataclass(frozen=True, slots=True)
class Resized:
    """What the model's processor makes of an image."""

    width_px: int
    height_px: int
    vision_tokens: int


def resize(vision: Vision, width_px: int, height_px: int) -> Resized:
    """Return the size to which the processor of `vision.family` brings an image, and the vision tokens it then takes.

    Raises `UnsupportedSize` where that processor would refuse the image.
    """
    match vision.family:
        case Family.QWEN2_VL:
            return qwen2_vl(width_px, height_px, vision.pixels_min, vision.pixels_max)
        case _:
            assert_never(vision.family)


def qwen2_vl(width_px: int, height_px: int, pixels_min: int, pixels_max: int) -> Resized:
    """Qwen2-VL and Qwen2.5-VL: both sides to multiples of 28 px, the area towards [pixels_min, pixels_max].

    Source: `smart_resize` in `transformers/models/qwen2_vl/image_processing_qwen2_vl.py`, which vLLM uses too.
    """
    if max(width_px, height_px) > QWEN2_VL_ASPECT_RATIO_MAX * min(width_px, height_px):
        raise UnsupportedSize(f"one side is more than {QWEN2_VL_ASPECT_RATIO_MAX} times the other")
    token = QWEN2_VL_TOKEN_PX
    # Python's round, half to even, is part of the formula.
    width, height = round(width_px / token) * token, round(height_px / token) * token
    if width * height > pixels_max:
        shrink = sqrt(width_px * height_px / pixels_max)
        width = max(token, floor(width_px / shrink / token) * token)
        height = max(token, floor(height_px / shrink / token) * token)
    elif width * height < pixels_min:
        grow = sqrt(pixels_min / (width_px * height_px))
        width, height = ceil(width_px * grow / token) * token, ceil(height_px * grow / token) * token
    return Resized(width, height, vision_tokens=width * height // token**2)
