"""Reading places from an engine's answer, whole or streamed: they come beside its text, which stays as it is."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pybase64
from PIL import Image

from catalog.card import ModelCard
from deployments.gateway.coalesce import Answer
from deployments.gateway.errors import BadRequest
from deployments.gateway.grounding.ask import Kind
from deployments.gateway.grounding.formats import Format, boxes_in, points_in
from deployments.gateway.media.picture import Picture

ORIENTATION_TAG = 0x0112
# EXIF orientations in which width and height change places.
LYING = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the places of an answer about one image, which the model saw as `seen_px` (width, height)."""

    kind: Kind
    written: Format
    seen_px: tuple[int, int]

    def of(self, text: str) -> list[dict[str, Any]]:
        """`boxes` or `points` of a message."""
        read = boxes_in if self.kind == "boxes" else points_in
        return [place.as_data() for place in read(text, self.written, self.seen_px)]


def reading(kind: Kind, card: ModelCard, pictures: list[Picture]) -> Reading:
    """For a card that grounds. Raises `BadRequest` unless there is one image: no format says which one it means."""
    assert card.grounding
    if [picture.kind for picture in pictures] != ["image"]:
        raise BadRequest(f"'{kind}' are places of one image. Send one, and no video.", param="response_format")
    in_pixels = card.grounding.format == "qwen2_5_vl"
    return Reading(kind, card.grounding.format, _seen_px(card, pictures[0]) if in_pixels else (1, 1))


class Grounded:
    """An `Answer` whose message has `boxes` or `points` as well: in a stream, in a chunk of their own at its end."""

    def __init__(self, answer: Answer, reading: Reading) -> None:
        self._answer = answer
        self._reading = reading

    async def whole(self) -> dict[str, Any]:
        """See `Answer.whole`."""
        data = await self._answer.whole()
        choice, *others = data["choices"]
        message = choice["message"] | {self._reading.kind: self._reading.of(choice["message"].get("content") or "")}
        return data | {"choices": [choice | {"message": message}, *others]}

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """See `Answer.chunks`. The last one is the engine's usage; the places come just before it."""
        text = ""
        async for chunk in self._answer.chunks():
            if chunk["choices"]:
                text += chunk["choices"][0]["delta"].get("content") or ""
            else:
                delta = {self._reading.kind: self._reading.of(text)}
                yield chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}
            yield chunk


def _seen_px(card: ModelCard, picture: Picture) -> tuple[int, int]:
    """The upright size to which the model's processor brings the image."""
    data = pybase64.b64decode(picture.data_url.partition(",")[2])
    with Image.open(io.BytesIO(data)) as image:
        width_px, height_px = image.size
        if image.getexif().get(ORIENTATION_TAG) in LYING:
            width_px, height_px = height_px, width_px
    seen = card.vision.see(width_px, height_px)
    return seen.width_px, seen.height_px
