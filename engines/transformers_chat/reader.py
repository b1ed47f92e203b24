"""Messages -> a prompt: the model's own template and processor, and what it counts."""

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin

from transformers_chat.media import BadMedia, Video, image, video
from transformers_chat.messages import Message, Part, parts

IMAGE_FAULT = "Failed to load image, or a text holds the model's own marker of an image."


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model's processor made: tensors of a batch of one. `vision_tokens` by modality; in `tokens` too."""

    inputs: dict[str, Tensor]
    vision_tokens: dict[str, int]

    @property
    def tokens(self) -> int:
        return int(self.inputs["input_ids"].shape[1])


class Reader:
    """For every model whose processor has a chat template."""

    def __init__(self, processor: ProcessorMixin, settings: dict[str, Any]) -> None:
        """`settings` are the processor's own, the same for every image, whatever a request says."""
        self._processor = processor
        self._settings = settings
        self.tokenizer = processor.tokenizer

    def read(self, conversation: list[Message], frames_per_s: float) -> Prompt:
        """`frames_per_s` is the rate of a video that comes as frames. Raises ValueError, of which `BadMedia` is a kind, in words for the caller."""
        images, videos = _media(conversation, self._processor, frames_per_s)
        if images and videos:
            raise BadMedia("Images and videos cannot be in one request to this model.")
        try:
            text = self._processor.apply_chat_template(
                _templated(conversation), add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, TypeError, IndexError) as error:
            raise BadMedia("The model's template does not take these messages.") from error
        try:
            inputs = self._processor(text=[text], return_tensors="pt", **self._visual(images, videos))
        except (ValueError, IndexError, StopIteration) as error:
            raise BadMedia(IMAGE_FAULT) from error
        return Prompt(dict(inputs), self._vision_tokens(inputs["input_ids"], "video" if videos else "image"))

    def _visual(self, images: list[Image.Image], videos: list[Video]) -> dict[str, Any]:
        if images:
            return {"images": [images], "images_kwargs": self._settings}
        if videos:
            metadata = [
                {"total_num_frames": one.frames_total, "fps": one.fps, "frames_indices": one.indices}
                | {"duration": one.frames_total / one.fps}
                for one in videos
            ]
            given = {"video_metadata": metadata, "do_sample_frames": False}
            return {"videos": [[one.frames for one in videos]], "videos_kwargs": given}
        return {}

    def _vision_tokens(self, ids: Tensor, modality: str) -> dict[str, int]:
        markers = {getattr(self._processor, f"{name}_token_id", None) for name in ("image", "video")}
        count = sum(int((ids == marker).sum()) for marker in markers if marker is not None)
        return {modality: count} if count else {}


def _media(
    conversation: list[Message], processor: ProcessorMixin, frames_per_s: float
) -> tuple[list[Image.Image], list[Video]]:
    all_parts = parts(conversation)
    images = [image(part.image_url.url) for part in all_parts if part.type == "image_url"]
    clips = [part.video_url.url for part in all_parts if part.type == "video_url"]
    sampling = getattr(processor, "video_processor", None)
    return images, [video(url, int(sampling.num_frames), float(sampling.fps), frames_per_s) for url in clips]


def _templated(conversation: list[Message]) -> list[dict[str, Any]]:
    """As templates take them: every content a list of parts."""
    return [{"role": message.role, "content": [_part(part) for part in message.parts]} for message in conversation]


def _part(part: Part) -> dict[str, str]:
    return {"type": "text", "text": part.text} if part.type == "text" else {"type": part.type.removesuffix("_url")}
