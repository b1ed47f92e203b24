"""An engine's answer with its places beside the text."""

import base64
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from PIL import Image

from catalog import load_catalog
from deployments.gateway.errors import BadRequest
from deployments.gateway.grounding import Grounded, Reading, reading
from deployments.gateway.media.picture import Picture
from tests.gateway.engine_server import chunks, whole

CATALOG = load_catalog()
QWEN = CATALOG.find("qwen2.5-vl-7b-instruct")
WORDS = ("<ref>cat</ref><box>", "(100,200),", "(300,400)</box>")
TEXT = "".join(WORDS)
CAT = {"label": "cat", "x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4}
BOXES = Reading("boxes", "qwen_vl", (1, 1))


@dataclass
class Scripted:
    """An `Answer` of these words."""

    words: tuple[str, ...] = WORDS

    async def whole(self) -> dict[str, Any]:
        return whole(self.words)

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        for chunk in chunks(self.words):
            yield chunk


def picture(width_px: int, height_px: int, orientation: int = 1) -> Picture:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.new("RGB", (width_px, height_px)).save(out, "JPEG", exif=exif)
    return Picture("data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode(), "sha", 1)


async def test_a_whole_answer_has_its_boxes_beside_the_text():
    (choice,) = (await Grounded(Scripted(), BOXES).whole())["choices"]
    assert choice["message"]["content"] == TEXT
    assert choice["message"]["boxes"] == [CAT]


async def test_a_stream_has_them_in_a_chunk_before_the_usage():
    """All else is as the engine sent it."""
    sent = chunks(WORDS)
    *content, places, usage = [chunk async for chunk in Grounded(Scripted(), BOXES).chunks()]
    assert [*content, usage] == sent
    assert places["choices"] == [{"index": 0, "delta": {"boxes": [CAT]}, "finish_reason": None}]
    assert places["usage"] is None


async def test_an_answer_without_places_has_none():
    """An empty list: the model found nothing, or said something else."""
    (choice,) = (await Grounded(Scripted(("no ", "cat")), BOXES).whole())["choices"]
    assert choice["message"]["boxes"] == []


async def test_the_engines_answer_is_not_changed():
    """Several requests may read it, each with places of its own or none."""
    answer = whole(WORDS)
    scripted = Scripted()
    scripted.whole = lambda: _later(answer)
    await Grounded(scripted, BOXES).whole()
    assert answer == whole(WORDS)


async def _later(answer: dict[str, Any]) -> dict[str, Any]:
    return answer


@pytest.mark.parametrize(
    ("picture", "seen_px"),
    [
        (picture(640, 480), (644, 476)),
        (picture(640, 480, orientation=6), (476, 644)),  # the camera was held upright
        (picture(4000, 3000), (1148, 840)),
    ],
)
def test_pixels_are_those_of_the_upright_image_as_the_model_sees_it(picture: Picture, seen_px: tuple[int, int]):
    assert reading("boxes", QWEN, [picture]).seen_px == seen_px
    half = f'{{"bbox_2d": [0, 0, {seen_px[0] / 2}, {seen_px[1]}]}}'
    (box,) = reading("boxes", QWEN, [picture]).of(half)
    assert (box["x_max"], box["y_max"]) == (0.5, 1.0)


IMAGE = picture(56, 56)


@pytest.mark.parametrize("shown", [[], [IMAGE, IMAGE], [replace(IMAGE, kind="video", frames=8)]])
def test_places_are_of_one_image(shown: list[Picture]):
    """No format says of which one."""
    with pytest.raises(BadRequest, match="Send one") as refused:
        reading("boxes", QWEN, shown)
    assert refused.value.param == "response_format"
