"""Ask the engine's own code what it makes of random images: the rows of `engine_vectors.json`.

    .venvs/vllm/bin/python tests/catalog/engine_vectors.py > tests/catalog/engine_vectors.json

Run it again when an engine's version changes. A row is width, height, resized width and height, vision tokens and
encoder patches.
"""

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
from vllm.transformers_utils.processors.internvl import calculate_internvl_targets, get_internvl_target_ratios
from vllm.transformers_utils.processors.moondream3 import select_tiling

SEED = 20261121
ROWS = 200
SHORT_PX_MAX, LONG_PX_MAX, RATIO_MAX = 6_000, 20_000, 30

# What a formula gives: resized width and height, vision tokens, encoder patches.
Formula = Callable[[int, int], tuple[int, int, int, int]]


def qwen2_vl(pixels_min: int, pixels_max: int) -> Formula:
    def seen(width: int, height: int) -> tuple[int, int, int, int]:
        h, w = smart_resize(height, width, factor=28, min_pixels=pixels_min, max_pixels=pixels_max)
        return w, h, w * h // 28**2, w * h // 14**2

    return seen


def internvl2(tiles_max: int) -> Formula:
    ratios = get_internvl_target_ratios(1, tiles_max)

    def seen(width: int, height: int) -> tuple[int, int, int, int]:
        tiles, w, h = calculate_internvl_targets(
            orig_width=width, orig_height=height, target_ratios=ratios, image_size=448, use_thumbnail=True
        )
        return w, h, tiles * 256, tiles * (448 // 14) ** 2

    return seen


def smolvlm2(long_edge_px: int, tile_px: int, patch_px: int, shuffle: int) -> Formula:
    processor = SmolVLMImageProcessor(
        size={"longest_edge": long_edge_px}, max_image_size={"longest_edge": tile_px}, do_image_splitting=True
    )
    patches = (tile_px // patch_px) ** 2

    def seen(width: int, height: int) -> tuple[int, int, int, int]:
        tiles, rows, columns = processor.get_number_of_image_patches(height, width, {})
        return columns * tile_px, rows * tile_px, tiles * patches // shuffle**2, tiles * patches

    return seen


def moondream() -> Formula:
    def seen(width: int, height: int) -> tuple[int, int, int, int]:
        rows, columns = select_tiling(height - 112, width - 112, 266, 12)
        return columns * 266 + 112, rows * 266 + 112, 729, 729 * (rows * columns + 1)

    return seen


FORMULAS: list[tuple[dict[str, Any], Callable[..., Formula]]] = [
    ({"family": "qwen2_vl", "pixels_min": 3136, "pixels_max": 12_845_056}, qwen2_vl),
    ({"family": "qwen2_5_vl", "pixels_min": 3136, "pixels_max": 1_003_520}, qwen2_vl),
    ({"family": "internvl2", "tiles_max": 1}, internvl2),
    ({"family": "internvl2", "tiles_max": 4}, internvl2),
    ({"family": "internvl2", "tiles_max": 12}, internvl2),
    ({"family": "internvl2", "tiles_max": 40}, internvl2),
    ({"family": "smolvlm2", "long_edge_px": 1536, "tile_px": 384, "patch_px": 14, "shuffle": 3}, smolvlm2),
    ({"family": "smolvlm2", "long_edge_px": 2048, "tile_px": 512, "patch_px": 16, "shuffle": 4}, smolvlm2),
    ({"family": "moondream2"}, moondream),
]


def sizes(source: random.Random) -> Iterator[tuple[int, int]]:
    """From one pixel and a square to poster and strip, small ones as often as large ones."""
    while True:
        short = round(math.exp(source.uniform(0, math.log(SHORT_PX_MAX))))
        both = short, min(round(short * math.exp(source.uniform(0, math.log(RATIO_MAX)))), LONG_PX_MAX)
        yield both if source.random() < 0.5 else both[::-1]


def main() -> None:
    source = random.Random(SEED)
    groups = []
    for vision, formula in FORMULAS:
        seen = formula(**{name: value for name, value in vision.items() if name != "family"})
        rows = [[*size, *seen(*size)] for size, _ in zip(sizes(source), range(ROWS), strict=False)]
        groups.append(f'{{"vision": {json.dumps(vision)}, "images": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}")
    print("[\n" + ",\n".join(groups) + "\n]")


if __name__ == "__main__":
    main()
