"""An image as a model sees it, and what every family of models can say about that."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from catalog.data import Data


class UnsupportedSize(ValueError):
    """An image has a shape that its model's processor refuses."""


class NoVideo(ValueError):
    """The model takes no video."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model's processor makes of an image or a video.

    `width_px` x `height_px` is the size that is cut into patches, `vision_tokens` the positions of the language model that
    are filled, delimiters excluded, and `encoder_patches` what the vision encoder computes, class tokens excluded.
    """

    width_px: int
    height_px: int
    vision_tokens: int
    encoder_patches: int


class VisionFamily(Data):
    """The vision settings of a model: data of its card. `see` is the formula of its family."""

    # Whether vLLM's own count of an image's tokens has the delimiters around it, too.
    vllm_counts_delimiters: ClassVar[bool] = False

    family: str

    @abstractmethod
    def see(self, width_px: int, height_px: int) -> Seen:
        """An upright image. Raises `UnsupportedSize` where the model's processor would refuse it."""

    def see_video(self, frames: int, width_px: int, height_px: int) -> Seen:
        """A video of so many frames of one size. Raises `NoVideo` or `UnsupportedSize`."""
        raise NoVideo("this model takes no video")

    def within(self, vision_tokens_max: int) -> Self:
        """Lower settings, under which an image takes at most so many vision tokens; where there are any, and an image
        that was shrunk to what they see takes no more under the higher ones.
        """
        return self

    def see_within(self, width_px: int, height_px: int, vision_tokens_max: int) -> Seen:
        """An image that is shrunk before the engine gets it, so that it takes at most so many vision tokens.

        As it is, where shrinking saves none. Raises `UnsupportedSize`.
        """
        whole = self.see(width_px, height_px)
        lowered = self.within(vision_tokens_max)
        if lowered == self:
            return whole
        shrunk = lowered.see(width_px, height_px)
        # The engine's processor sees it in that shape, and has the last word.
        shrunk = self.see(shrunk.width_px, shrunk.height_px)
        return shrunk if shrunk.vision_tokens < whole.vision_tokens else whole

    def enough(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Width and height to which an image may be shrunk before the model's processor gets it: it would do that itself
        as its first step, so the model sees the same. The image's own size where that saves nothing.
        """
        seen = self.see(width_px, height_px)
        smaller = seen.width_px <= width_px and seen.height_px <= height_px
        if smaller and self.see(seen.width_px, seen.height_px) == seen:
            return seen.width_px, seen.height_px
        return width_px, height_px

    @property
    @abstractmethod
    def vision_tokens_max(self) -> int:
        """The most that one image takes, long strips aside."""

    @property
    @abstractmethod
    def encoder_patches_max(self) -> int:
        """The most that one image takes, long strips aside."""
