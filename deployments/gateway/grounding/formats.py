"""How each family writes boxes and points into its text, read as fractions of the image. Pure.

| format | text |
|---|---|
| `qwen2_vl` | `<|object_ref_start|>cat<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>`, in thousandths |
| `qwen_vl` | `<ref>cat</ref><box>(x1,y1),(x2,y2)</box>`, in thousandths |
| `internvl2` | `<ref>cat</ref><box>[[x1,y1,x2,y2], ...]</box>`, in thousandths |
| `paligemma` | `<locYYYY><locXXXX><locYYYY><locXXXX> cat ; ...`, in 1,024ths; a mask's `<segNNN>` may follow |
| `qwen2_5_vl` | JSON `{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}`, `point_2d`; pixels of the image as the model saw it |
| `moondream` | JSON `{"x_min": ..., "y_min": ..., "x_max": ..., "y_max": ...}`, `{"x": ..., "y": ...}`, in fractions |

What is cut off or garbled is passed over: every place that is whole is read, from any text, without an error.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import orjson

from deployments.gateway.grounding.places import Box, Point

Format = Literal["qwen2_vl", "qwen2_5_vl", "qwen_vl", "internvl2", "paligemma", "moondream"]

THOUSANDTHS = 1000
LOCATIONS = 1024

_NUMBER = r"\s*([0-9]{1,5}(?:\.[0-9]{1,5})?)\s*"
_CORNERS = rf"\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)"
_QUADRUPLE = rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]"
_REF = r"<ref>([^<]*)</ref>"
_QWEN2_REF = r"<\|object_ref_start\|>([^<]*)<\|object_ref_end\|>"

# A label, or a box; a label holds for all boxes until the next one.
_MARKED = {
    "qwen2_vl": re.compile(f"{_QWEN2_REF}|{_CORNERS}"),
    "qwen_vl": re.compile(f"{_REF}|{_CORNERS}"),
    "internvl2": re.compile(f"{_REF}|{_QUADRUPLE}"),
}
_LOCATED = re.compile(r"<loc([0-9]{4})>" * 4 + r"\s*(?:<seg[0-9]{3}>)*\s*([^<;]*)")
_OBJECT = re.compile(r"\{[^{}]*\}")


def boxes_in(text: str, written: Format, seen_px: tuple[int, int]) -> list[Box]:
    """Every whole box of an answer, in its order. `seen_px` is width and height of the image as the model saw it."""
    match written:
        case "qwen2_vl" | "qwen_vl" | "internvl2":
            return list(_marked_boxes(text, _MARKED[written]))
        case "paligemma":
            return list(_located_boxes(text))
        case "qwen2_5_vl":
            return list(_json_boxes(text, seen_px))
        case "moondream":
            return list(_moondream_boxes(text))


def points_in(text: str, written: Format, seen_px: tuple[int, int]) -> list[Point]:
    """Every whole point of an answer, in its order: of the two formats that have points."""
    match written:
        case "qwen2_5_vl":
            return list(_json_points(text, seen_px))
        case "moondream":
            return list(_moondream_points(text))
    return []


def _marked_boxes(text: str, pattern: re.Pattern[str]) -> Iterator[Box]:
    label = None
    for label_or_box in pattern.finditer(text):
        said, *corners = label_or_box.groups()
        if said is not None:
            label = said.strip() or None
            continue
        x1, y1, x2, y2 = (float(number) / THOUSANDTHS for number in corners)
        yield Box.of(label, (x1, x2), (y1, y2))


def _located_boxes(text: str) -> Iterator[Box]:
    """The vertical coordinate comes first."""
    for found in _LOCATED.finditer(text):
        *corners, label = found.groups()
        y1, x1, y2, x2 = (int(number) / LOCATIONS for number in corners)
        yield Box.of(label.strip() or None, (x1, x2), (y1, y2))


def _json_boxes(text: str, seen_px: tuple[int, int]) -> Iterator[Box]:
    width_px, height_px = seen_px
    for data in _objects(text):
        if corners := _numbers(data.get("bbox_2d"), 4):
            x1, y1, x2, y2 = corners
            yield Box.of(_label(data), (x1 / width_px, x2 / width_px), (y1 / height_px, y2 / height_px))


def _json_points(text: str, seen_px: tuple[int, int]) -> Iterator[Point]:
    width_px, height_px = seen_px
    for data in _objects(text):
        if place := _numbers(data.get("point_2d"), 2):
            yield Point.of(_label(data), place[0] / width_px, place[1] / height_px)


def _moondream_boxes(text: str) -> Iterator[Box]:
    for data in _objects(text):
        if corners := _numbers([data.get(name) for name in ("x_min", "x_max", "y_min", "y_max")], 4):
            x1, x2, y1, y2 = corners
            yield Box.of(_label(data), (x1, x2), (y1, y2))


def _moondream_points(text: str) -> Iterator[Point]:
    for data in _objects(text):
        if place := _numbers([data.get("x"), data.get("y")], 2):
            yield Point.of(_label(data), *place)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Every JSON object without another inside; one that is cut off or malformed is passed over."""
    for found in _OBJECT.finditer(text):
        try:
            yield orjson.loads(found.group())
        except orjson.JSONDecodeError:
            continue


def _numbers(values: object, count: int) -> list[float] | None:
    """So many numbers, or None for anything else."""
    if not isinstance(values, list) or len(values) != count:
        return None
    # A bool is an int to Python, and no number to anybody else.
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return numbers if len(numbers) == count else None


def _label(data: dict[str, Any]) -> str | None:
    label = data.get("label")
    return label if isinstance(label, str) else None
