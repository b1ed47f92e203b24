"""InternVL2: an image is squeezed into the grid of tiles whose shape is nearest to its own, with a thumbnail beside."""

from functools import cache
from typing import Literal, Self

from catalog.data import Positive
from catalog.vision.seen import Seen, VisionFamily

# A pixel shuffle merges 2 x 2 patches into one vision token.
PATCHES_PER_TOKEN = 4


class InternVl2(VisionFamily):
    """At most `tiles_max` tiles, and the thumbnail where there is more than one. The published models have tiles of 448 px,
    cut into patches of 14 px.

    Sources: `vllm/transformers_utils/processors/internvl.py` and `lmdeploy/vl/model/internvl.py`, which agree.
    """

    family: Literal["internvl2"]
    tiles_max: Positive
    tile_px: Positive = 448
    tile_tokens: Positive = 256

    def see(self, width_px: int, height_px: int) -> Seen:
        columns, rows = self._grid(width_px, height_px)
        return self._tiled(columns, rows, _with_thumbnail(columns * rows))

    def see_video(self, frames: int, width_px: int, height_px: int) -> Seen:
        """Frames are images of one tile each, whatever their size."""
        return self._tiled(1, 1, frames)

    def within(self, vision_tokens_max: int) -> Self:
        tiles_max = max(1, vision_tokens_max // self.tile_tokens - 1)
        return self if tiles_max >= self.tiles_max else self.model_copy(update={"tiles_max": tiles_max})

    @property
    def vision_tokens_max(self) -> int:
        return self.tile_tokens * _with_thumbnail(self.tiles_max)

    @property
    def encoder_patches_max(self) -> int:
        return PATCHES_PER_TOKEN * self.vision_tokens_max

    def _grid(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Columns and rows. Of two grids as near, the larger where the image fills more than half of it."""
        aspect_ratio, area_px = width_px / height_px, width_px * height_px
        best, best_distance = (1, 1), float("inf")
        for columns, rows in _grids(self.tiles_max):
            distance = abs(aspect_ratio - columns / rows)
            fills_half = area_px > 0.5 * self.tile_px**2 * columns * rows
            if distance < best_distance or (distance == best_distance and fills_half):
                best, best_distance = (columns, rows), distance
        return best

    def _tiled(self, columns: int, rows: int, tiles: int) -> Seen:
        tokens = tiles * self.tile_tokens
        return Seen(columns * self.tile_px, rows * self.tile_px, tokens, PATCHES_PER_TOKEN * tokens)


@cache
def _grids(tiles_max: int) -> tuple[tuple[int, int], ...]:
    """Every grid of at most so many tiles, small ones first."""
    grids = [(i, j) for i in range(1, tiles_max + 1) for j in range(1, tiles_max // i + 1)]
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


def _with_thumbnail(tiles: int) -> int:
    return tiles if tiles == 1 else tiles + 1
