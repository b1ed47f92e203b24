"""SmolVLM2: every image is scaled to one long edge, cut into tiles, and seen once more as a whole."""

from math import ceil
from typing import ClassVar, Literal

from catalog.data import Positive
from catalog.vision.seen import Seen, VisionFamily

EDGE_PX_MAX = 4096


class SmolVlm2(VisionFamily):
    """A thumbnail costs as much as a photo: only the shape counts. So shrinking an image saves nothing here.

    A tile is cut into patches of `patch_px`, of which a pixel shuffle merges `shuffle` x `shuffle` into one vision token.
    Source: `transformers/models/smolvlm/image_processing_smolvlm.py`, which vLLM uses too.
    """

    vllm_counts_delimiters: ClassVar[bool] = True
    family: Literal["smolvlm2"]
    long_edge_px: Positive
    tile_px: Positive
    patch_px: Positive
    shuffle: Positive

    def see(self, width_px: int, height_px: int) -> Seen:
        width, height = _scaled(width_px, height_px, min(self.long_edge_px, EDGE_PX_MAX))
        columns, rows = ceil(width / self.tile_px), ceil(height / self.tile_px)
        return self._tiled(columns, rows, _with_whole(columns * rows))

    def see_video(self, frames: int, width_px: int, height_px: int) -> Seen:
        """One tile a frame, whatever its size."""
        return self._tiled(1, 1, frames)

    def enough(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Its first step; the second one stretches that to whole tiles."""
        width, height = _scaled(width_px, height_px, min(self.long_edge_px, EDGE_PX_MAX))
        return (width, height) if width <= width_px and height <= height_px else (width_px, height_px)

    @property
    def vision_tokens_max(self) -> int:
        return self._tiles_max * self._tile_tokens

    @property
    def encoder_patches_max(self) -> int:
        return self._tiles_max * self._tile_patches

    @property
    def _tiles_max(self) -> int:
        return _with_whole(ceil(self.long_edge_px / self.tile_px) ** 2)

    @property
    def _tile_patches(self) -> int:
        return (self.tile_px // self.patch_px) ** 2

    @property
    def _tile_tokens(self) -> int:
        return self._tile_patches // self.shuffle**2

    def _tiled(self, columns: int, rows: int, tiles: int) -> Seen:
        return Seen(columns * self.tile_px, rows * self.tile_px, tiles * self._tile_tokens, tiles * self._tile_patches)


def _scaled(width_px: int, height_px: int, long_edge_px: int) -> tuple[int, int]:
    """Up or down to the long edge; the short one becomes even. Cutting off, not rounding, is part of the formula."""
    aspect_ratio = width_px / height_px
    if width_px >= height_px:
        return long_edge_px, _even(int(long_edge_px / aspect_ratio))
    return _even(int(long_edge_px * aspect_ratio)), long_edge_px


def _even(edge_px: int) -> int:
    return max(1, edge_px + edge_px % 2)


def _with_whole(tiles: int) -> int:
    """The tiles, and the whole image once more; an image of one tile is not cut at all."""
    return tiles if tiles == 1 else tiles + 1
