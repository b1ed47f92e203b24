"""Qwen2-VL and Qwen2.5-VL: an image keeps its shape, and takes vision tokens by its area."""

from math import ceil, floor, sqrt
from typing import Literal, Self

from pydantic import model_validator

from catalog.data import Positive
from catalog.vision.seen import Seen, UnsupportedSize, VisionFamily

# Patches of 14 px, merged 2 x 2 into one vision token of 28 px.
TOKEN_PX = 28
PATCHES_PER_TOKEN = 4
# Two frames of a video make one grid of patches.
FRAMES_PER_GRID = 2
ASPECT_RATIO_MAX = 200


class Qwen2Vl(VisionFamily):
    """Both sides to multiples of 28 px, the area towards [pixels_min, pixels_max].

    Source: `smart_resize` in `transformers/models/qwen2_vl/image_processing_qwen2_vl.py`, which vLLM uses too.
    """

    family: Literal["qwen2_vl", "qwen2_5_vl"]
    pixels_min: Positive
    pixels_max: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pixels_min > self.pixels_max:
            raise ValueError("pixels_min is above pixels_max")
        return self

    def see(self, width_px: int, height_px: int) -> Seen:
        width, height = self._resized(width_px, height_px)
        tokens = width * height // TOKEN_PX**2
        return Seen(width, height, tokens, PATCHES_PER_TOKEN * tokens)

    def see_video(self, frames: int, width_px: int, height_px: int) -> Seen:
        """Every frame within the bounds of an image; an odd last one is repeated."""
        width, height = self._resized(width_px, height_px)
        tokens = ceil(frames / FRAMES_PER_GRID) * (width * height // TOKEN_PX**2)
        return Seen(width, height, tokens, PATCHES_PER_TOKEN * tokens)

    def within(self, vision_tokens_max: int) -> Self:
        pixels_max = vision_tokens_max * TOKEN_PX**2
        return self if pixels_max >= self.pixels_max else self.model_copy(update={"pixels_max": pixels_max})

    @property
    def vision_tokens_max(self) -> int:
        return self.pixels_max // TOKEN_PX**2

    @property
    def encoder_patches_max(self) -> int:
        return PATCHES_PER_TOKEN * self.vision_tokens_max

    def _resized(self, width_px: int, height_px: int) -> tuple[int, int]:
        if max(width_px, height_px) > ASPECT_RATIO_MAX * min(width_px, height_px):
            raise UnsupportedSize(f"one side is more than {ASPECT_RATIO_MAX} times the other")
        # Python's round, half to even, is part of the formula.
        width, height = round(width_px / TOKEN_PX) * TOKEN_PX, round(height_px / TOKEN_PX) * TOKEN_PX
        if width * height > self.pixels_max:
            shrink = sqrt(width_px * height_px / self.pixels_max)
            width = max(TOKEN_PX, floor(width_px / shrink / TOKEN_PX) * TOKEN_PX)
            height = max(TOKEN_PX, floor(height_px / shrink / TOKEN_PX) * TOKEN_PX)
        elif width * height < self.pixels_min:
            grow = sqrt(self.pixels_min / (width_px * height_px))
            width = ceil(width_px * grow / TOKEN_PX) * TOKEN_PX
            height = ceil(height_px * grow / TOKEN_PX) * TOKEN_PX
        return width, height
