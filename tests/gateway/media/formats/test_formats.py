"""What our readers say of a file is what Pillow makes of it, decoded."""

import io
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.formats.anatomy import PARTS_MAX
from deployments.gateway.media.image import READERS
from deployments.gateway.media.kind import image_format
from tests.gateway.media.samples import chunk, image, png, saved

MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGB"),
}
OPTIONS = {
    "PNG": ({}, {"optimize": True}, {"bits": 2}),
    "JPEG": (
        {},
        {"progressive": True},
        {"quality": 95, "subsampling": 0},
        {"restart_marker_blocks": 3},
        {"comment": b"x"},
    ),
    "WEBP": ({}, {"lossless": True}, {"quality": 10}, {"exif": b"II*\0\x08\0\0\0\0\0"}),
    "GIF": ({}, {"interlace": 1}, {"comment": b"x" * 600}),
}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 70), st.integers(1, 70))
def test_a_file_is_read_as_pillow_reads_it(draw: st.DataObject, width: int, height: int):
    """Its size, and whether it is plain; and what goes on of it has the very pixels of the first picture."""
    kind = draw.draw(st.sampled_from(sorted(MODES)))
    mode = draw.draw(st.sampled_from(MODES[kind]))
    shown = Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("L" if mode == "I;16" else mode)
    data = saved(shown.convert("I;16") if mode == "I;16" else shown, kind, **draw.draw(st.sampled_from(OPTIONS[kind])))
    anatomy = READERS[kind](data + draw.draw(st.sampled_from([b"", b"\n", bytes(5000)])))
    with Image.open(io.BytesIO(data)) as sent, Image.open(io.BytesIO(anatomy.content)) as alone:
        assert (anatomy.width_px, anatomy.height_px) == sent.size
        assert anatomy.plain == (sent.mode in ("1", "L", "P", "RGB") and "transparency" not in sent.info)
        assert anatomy.whole
        assert alone.convert("RGBA").tobytes() == sent.convert("RGBA").tobytes()


@pytest.mark.parametrize("kind", MODES)
@given(damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=8), cut=st.floats(0, 1))
def test_no_damage_is_worse_than_a_fault(kind: str, damage: list[tuple[float, bytes]], cut: float):
    """Whatever the bytes are, they are read in bounded time."""
    damaged = bytearray(image(24, 16, kind))
    for place, other in damage:
        at = int(place * (len(damaged) - 1))
        damaged[at : at + len(other)] = other
    data = bytes(damaged[: int(cut * len(damaged))])
    if image_format(data) != kind:
        return
    with suppress(Fault):
        READERS[kind](data)


def test_a_file_of_many_parts_is_refused():
    """Each costs a little time; pixels that lie in many small parts may."""
    note, pixels = chunk(b"tEXt", b""), chunk(b"IDAT", b"")
    for parts, taken in ((PARTS_MAX - 10, True), (PARTS_MAX, False)):
        for part in (note, pixels):
            data = png(8, 8, before=((b"tEXt", b"here"),)).replace(chunk(b"tEXt", b"here"), part * parts)
            if taken:
                assert READERS["PNG"](data).plain
            else:
                with pytest.raises(Fault, match=f"{PARTS_MAX} parts"):
                    READERS["PNG"](data)


def test_what_has_no_pixels_is_no_image():
    """Of any format."""
    for data in (
        png(0, 8, rows=b""),
        image(kind="JPEG")[:300],
        b"RIFF\4\0\0\0WEBP",
        image(kind="GIF")[:20],
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b"GIF89a",
    ):
        with pytest.raises(Fault):
            READERS[str(image_format(data))](data)
