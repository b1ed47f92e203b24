"""Moondream 2 and 3: the encoder sees up to 13 crops, the language model always the same number of vision tokens."""

from math import ceil, floor, sqrt
from typing import ClassVar, Literal

from catalog.vision.seen import Seen, VisionFamily

CROP_PATCHES = 729  # 27 x 27 of 14 px
VISION_TOKENS = 729
CROPS_MAX = 12
# A crop of 378 px shows 266 px of its own, and an overlap of 56 px on each side.
CROP_WINDOW_PX = 266
OVERLAP_PX = 112
CROP_PX = CROP_WINDOW_PX + OVERLAP_PX


class Moondream(VisionFamily):
    """A grid of overlapping crops, and the whole image once more.

    Source: `vllm/transformers_utils/processors/moondream3.py`; Moondream 2's own code has the same.
    """

    vllm_counts_delimiters: ClassVar[bool] = True
    family: Literal["moondream2", "moondream3"]

    def see(self, width_px: int, height_px: int) -> Seen:
        rows, columns = _tiling(height_px - OVERLAP_PX, width_px - OVERLAP_PX)
        return Seen(
            columns * CROP_WINDOW_PX + OVERLAP_PX,
            rows * CROP_WINDOW_PX + OVERLAP_PX,
            VISION_TOKENS,
            CROP_PATCHES * (rows * columns + 1),
        )

    def see_within(self, width_px: int, height_px: int, vision_tokens_max: int) -> Seen:
        """Its vision tokens are always as many; asked for fewer, it gets one crop, and the encoder has less to do."""
        if vision_tokens_max >= VISION_TOKENS:
            return self.see(width_px, height_px)
        return self.see(CROP_PX, CROP_PX)

    @property
    def vision_tokens_max(self) -> int:
        return VISION_TOKENS

    @property
    def encoder_patches_max(self) -> int:
        """Its own code goes beyond its 12 crops for a strip of more than about 12 : 1."""
        return CROP_PATCHES * (CROPS_MAX + 1)


def _tiling(height_px: int, width_px: int) -> tuple[int, int]:
    """Rows and columns that cover the image, at most `CROPS_MAX` in all; enough of them to see details, if they fit."""
    if height_px <= CROP_WINDOW_PX or width_px <= CROP_WINDOW_PX:
        return 1, 1
    rows_min, columns_min = ceil(height_px / CROP_WINDOW_PX), ceil(width_px / CROP_WINDOW_PX)
    if rows_min * columns_min > CROPS_MAX:
        shrink = sqrt(CROPS_MAX / (rows_min * columns_min))
        return max(1, floor(rows_min * shrink)), max(1, floor(columns_min * shrink))
    rows = max(floor(sqrt(CROPS_MAX * height_px / width_px)), rows_min)
    columns = max(floor(sqrt(CROPS_MAX * width_px / height_px)), columns_min)
    if rows * columns > CROPS_MAX:
        if columns > rows:
            columns = CROPS_MAX // rows
        else:
            rows = CROPS_MAX // columns
    return rows, columns
