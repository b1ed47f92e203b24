"""Families that bring every image to one square: each costs the same, whatever its size."""

from abc import abstractmethod
from typing import ClassVar, Literal

from catalog.vision.seen import Seen, VisionFamily

PATCH_PX = 14


class _Fixed(VisionFamily):
    """`side_px` is the square, cut into patches of 14 px."""

    @property
    @abstractmethod
    def side_px(self) -> int: ...

    @property
    def encoder_patches_max(self) -> int:
        return (self.side_px // PATCH_PX) ** 2

    @property
    def vision_tokens_max(self) -> int:
        return self.encoder_patches_max

    def see(self, width_px: int, height_px: int) -> Seen:
        return Seen(self.side_px, self.side_px, self.vision_tokens_max, self.encoder_patches_max)


class PaliGemma(_Fixed):
    """PaliGemma and PaliGemma 2: squeezed to the checkpoint's square, so the aspect ratio is lost.

    Source: `vllm/model_executor/models/paligemma.py`.
    """

    vllm_counts_delimiters: ClassVar[bool] = True
    family: Literal["paligemma"]
    input_px: Literal[224, 448, 896]

    @property
    def side_px(self) -> int:
        return self.input_px


class Llava(_Fixed):
    """LLaVA-1.5: the short edge to 336 px, then the middle square.

    Sources: `llava.py` and `clip.py` in `vllm/model_executor/models`.
    """

    family: Literal["llava"]

    @property
    def side_px(self) -> int:
        return 336

    def enough(self, width_px: int, height_px: int) -> tuple[int, int]:
        """What is cut off is for the processor to choose."""
        short_px = min(width_px, height_px)
        if short_px <= self.side_px:
            return width_px, height_px
        return width_px * self.side_px // short_px, height_px * self.side_px // short_px


class QwenVl(_Fixed):
    """Qwen-VL of 2023: squeezed to 448 px, its 1,024 patches resampled to 256 vision tokens.

    Source: the README and code of `Qwen/Qwen-VL`.
    """

    family: Literal["qwen_vl"]

    @property
    def side_px(self) -> int:
        return 448

    @property
    def vision_tokens_max(self) -> int:
        return 256
