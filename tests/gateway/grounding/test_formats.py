"""What each family writes, and the places that are read from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.grounding.formats import Format, boxes_in, points_in
from deployments.gateway.grounding.places import Box, Point

SEEN_PX = (1000, 500)
CAT = Box("cat", 0.1, 0.2, 0.3, 0.4)
DOG = Box("dog", 0.5, 0.6, 0.7, 0.8)
FORMATS: tuple[Format, ...] = ("qwen2_vl", "qwen2_5_vl", "qwen_vl", "internvl2", "paligemma", "moondream")
QWEN2 = "<|object_ref_start|>{}<|object_ref_end|><|box_start|>{}<|box_end|>"


def boxes(text: str, written: Format) -> list[Box]:
    return boxes_in(text, written, SEEN_PX)


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ("qwen2_vl", QWEN2.format("cat", "(100,200),(300,400)"), [CAT]),
        (
            "qwen2_vl",
            QWEN2.format("cat", "(100,200),(300,400)") + " and " + QWEN2.format(" dog ", "(500, 600), (700, 800)"),
            [CAT, DOG],
        ),
        ("qwen2_vl", "<|box_start|>(100,200),(300,400)<|box_end|>", [Box(None, 0.1, 0.2, 0.3, 0.4)]),
        ("qwen_vl", "<ref>cat</ref><box>(100,200),(300,400)</box>", [CAT]),
        ("qwen_vl", "<ref>cat</ref><box>(100,200),(300,400)</box><box>(0,0),(999,999)</box>",
         [CAT, Box("cat", 0, 0, 0.999, 0.999)]),
        ("internvl2", "<ref>cat</ref><box>[[100, 200, 300, 400]]</box>", [CAT]),
        ("internvl2", "<ref>cat</ref><box>[[100,200,300,400],[0,0,1000,1000]]</box><ref>dog</ref><box>[[500,600,700,800]]</box>",
         [CAT, Box("cat", 0, 0, 1, 1), DOG]),
        ("paligemma", "<loc0256><loc0128><loc0768><loc0512> cat", [Box("cat", 0.125, 0.25, 0.5, 0.75)]),
        ("paligemma", "<loc0000><loc0000><loc0512><loc0512> cat ; <loc0512><loc0512><loc1023><loc1023> dog",
         [Box("cat", 0, 0, 0.5, 0.5), Box("dog", 0.5, 0.5, 1023 / 1024, 1023 / 1024)]),
        ("paligemma", "<loc0000><loc0000><loc0512><loc0512>" + "<seg007>" * 16 + " cat", [Box("cat", 0, 0, 0.5, 0.5)]),
        ("qwen2_5_vl", '```json\n[\n\t{"bbox_2d": [100, 100, 300, 200], "label": "cat"}\n]\n```', [CAT]),
        ("qwen2_5_vl", '[{"bbox_2d": [100, 100, 300.0, 200], "label": "cat"}, {"bbox_2d": [500, 300, 700, 400], "label": "dog"}]',
         [CAT, DOG]),
        ("qwen2_5_vl", 'Here: {"bbox_2d": [0, 0, 1000, 500]}', [Box(None, 0, 0, 1, 1)]),
        ("moondream", '{"objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.3, "y_max": 0.4, "label": "cat"}]}', [CAT]),
    ],
)  # fmt: skip
def test_boxes_are_fractions_of_the_image(written: Format, text: str, expected: list[Box]):
    """With the labels, in the order of the text."""
    assert boxes(text, written) == expected


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ("qwen2_5_vl", '[{"point_2d": [250, 250], "label": "nose"}]', [Point("nose", 0.25, 0.5)]),
        ("qwen2_5_vl", '{"bbox_2d": [0, 0, 10, 10]}', []),
        ("moondream", '{"points": [{"x": 0.25, "y": 0.5}, {"x": 1, "y": 0}]}', [Point(None, 0.25, 0.5), Point(None, 1, 0)]),
        ("qwen2_vl", "<|box_start|>(1,2),(3,4)<|box_end|>", []),
    ],
)  # fmt: skip
def test_points_are_fractions_of_the_image(written: Format, text: str, expected: list[Point]):
    assert points_in(text, written, SEEN_PX) == expected


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        ("qwen2_vl", QWEN2.format("cat", "(100,200),(300,400)") + "<|box_start|>(500,600),(70", [CAT]),
        ("qwen_vl", "<ref>cat</ref><box>(100,200),(300,", []),
        ("internvl2", "<ref>cat</ref><box>[[100,200,300,400],[1,2,3", [CAT]),
        ("paligemma", "<loc0256><loc0128><loc0768><loc0512> cat ; <loc0001><loc0002><loc00",
         [Box("cat", 0.125, 0.25, 0.5, 0.75)]),
        ("qwen2_5_vl", '[{"bbox_2d": [100, 100, 300, 200], "label": "cat"}, {"bbox_2d": [1, 2', [CAT]),
        ("qwen2_5_vl", '{"bbox_2d": [1, 2, 3]} {"bbox_2d": [1, 2, 3, "x"]} {"bbox_2d": [true, 2, 3, 4]} {"bbox_2d": 7}', []),
        ("moondream", '{"objects": [{"x_min": 0.1, "y_min": 0.2}]}', []),
    ],
)  # fmt: skip
def test_what_is_cut_off_or_garbled_is_passed_over(written: Format, text: str, expected: list[Box]):
    """The boxes that are whole are there."""
    assert boxes(text, written) == expected


def test_corners_come_in_any_order():
    """A box has its smaller coordinates first."""
    assert boxes("(300,400),(100,200)", "qwen2_vl") == [Box(None, 0.1, 0.2, 0.3, 0.4)]


def test_what_lies_beyond_the_image_is_cut_off():
    assert boxes('{"bbox_2d": [-100, 0, 2000, 9e99], "label": "sky"}', "qwen2_5_vl") == [Box("sky", 0, 0, 1, 1)]


PIECES = st.sampled_from(
    ["<ref>", "</ref>", "<box>", "[[", "]]", "(", ")", ",", "1", "999", "<loc0001>", "<seg001>", ";", " cat", "{", "}", "[",
     '"bbox_2d":', '"label":', '"x":', "1e999", "<|box_start|>", "<|object_ref_start|>"]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)), st.sampled_from(FORMATS))
def test_any_text_can_be_read(text: str, written: Format):
    """Every place is within the image, its smaller coordinates first."""
    for box in boxes(text, written):
        assert 0 <= box.x_min <= box.x_max <= 1
        assert 0 <= box.y_min <= box.y_max <= 1
    for point in points_in(text, written, SEEN_PX):
        assert 0 <= point.x <= 1
        assert 0 <= point.y <= 1


THOUSANDTH = st.integers(0, 1000)


@given(x=st.tuples(THOUSANDTH, THOUSANDTH).map(sorted), y=st.tuples(THOUSANDTH, THOUSANDTH).map(sorted))
def test_every_format_says_the_same(x: list[int], y: list[int]):
    """One box, written in four ways."""
    (x1, x2), (y1, y2) = x, y
    read = [
        boxes(f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>", "qwen2_vl"),
        boxes(f"<box>({x1},{y1}),({x2},{y2})</box>", "qwen_vl"),
        boxes(f"<box>[[{x1},{y1},{x2},{y2}]]</box>", "internvl2"),
        boxes(f'{{"bbox_2d": [{x1}, {y1 / 2}, {x2}, {y2 / 2}]}}', "qwen2_5_vl"),
    ]
    assert read == [[Box(None, x1 / 1000, y1 / 1000, x2 / 1000, y2 / 1000)]] * 4
