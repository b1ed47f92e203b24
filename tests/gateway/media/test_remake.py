import io
from typing import Any

import pytest
from PIL import Image, ImageChops

from catalog import load_catalog
from deployments.gateway.media.fault import Fault
from deployments.gateway.media.image import measure
from deployments.gateway.media.remake import read
from tests.gateway.media.samples import image, saved

LIMITS = load_catalog().find("demo-qwen2-vl").limits


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def remade(data: bytes, size: list[int] | None = None) -> bytes:
    """As the engine gets it, where it is not plain."""
    header = measure(data, LIMITS)
    _, (made,) = read(header.content, header.format, header.orientation, size, whole=header.whole)
    return made


def clear() -> Image.Image:
    """Red on the left, nothing on the right."""
    shown = Image.new("RGBA", (20, 10))
    shown.paste((255, 0, 0, 255), (0, 0, 10, 10))
    return shown


def turned(kind: str, orientation: int) -> bytes:
    """A picture that is red above, as a camera saves it that was held so."""
    shown = Image.new("RGB", (8, 32), "blue")
    shown.paste("red", (0, 0, 8, 16))
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(shown if back is None else shown.transpose(Image.Transpose(back)), kind, exif=exif)


def near(colour: Any, expected: tuple[int, int, int]) -> bool:
    """Compression shifts colours a little."""
    return all(abs(a - b) < 40 for a, b in zip(colour, expected, strict=True))


NOT_PLAIN = {
    "alpha": saved(clear()),
    "alpha in WebP": saved(clear(), "WEBP"),
    "grey with alpha": saved(clear().convert("LA")),
    "palette with a clear colour": saved(clear(), "GIF"),
    "one colour that is clear": saved(Image.new("RGB", (8, 8)), transparency=(0, 0, 0)),
    "CMYK": saved(Image.new("CMYK", (8, 8)), "JPEG"),
    "16 bits": saved(Image.new("I;16", (8, 8), 40_000)),
    "moving GIF": saved(clear(), "GIF", save_all=True, append_images=[Image.new("RGBA", (20, 10), "blue")]),
    "moving WebP": saved(clear(), "WEBP", save_all=True, append_images=[Image.new("RGBA", (20, 10), "blue")]),
    "moving PNG": saved(clear(), "PNG", save_all=True, append_images=[Image.new("RGBA", (20, 10), "blue")]),
    "turned": turned("JPEG", 6),
    "without its end": image(kind="JPEG")[:-2],
    "a PNG without its end": image()[:-12],
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_engines_see_differently_is_made_plain(data: bytes):
    """After that, nothing more is to be done."""
    assert not measure(data, LIMITS).plain
    again = measure(remade(data), LIMITS)
    assert again.plain
    assert (again.width_px, again.height_px) == (measure(data, LIMITS).width_px, measure(data, LIMITS).height_px)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind: str, orientation: int):
    """Measured as it stands, and made so: red above."""
    data = turned(kind, orientation)
    header = measure(data, LIMITS)
    assert (header.width_px, header.height_px) == (8, 32)
    assert header.plain == (orientation == 1)
    upright = opened(remade(data)).convert("RGB")
    assert upright.size == (8, 32)
    assert near(upright.getpixel((4, 4)), (255, 0, 0))
    assert near(upright.getpixel((4, 28)), (0, 0, 255))


@pytest.mark.parametrize("name", ["alpha", "alpha in WebP", "palette with a clear colour", "moving GIF", "moving PNG"])
def test_what_is_clear_becomes_white(name: str):
    """As vLLM shows it; of a moving image the first frame counts."""
    plain = opened(remade(NOT_PLAIN[name]))
    assert plain.mode == "RGB"
    assert near(plain.getpixel((2, 5)), (255, 0, 0))
    assert near(plain.getpixel((17, 5)), (255, 255, 255))


@pytest.mark.parametrize(("level", "shown"), [(0, 0), (40_000, 156), (65_535, 255)])
def test_sixteen_bits_become_eight(level: int, shown: int):
    """Scaled, not cut off."""
    plain = opened(remade(saved(Image.new("I;16", (8, 8), level))))
    assert plain.getpixel((0, 0)) == (shown, shown, shown)


@pytest.mark.parametrize(("level", "shown"), [(40_000, 255), (40_001, 156)])
def test_a_clear_grey_of_sixteen_bits_is_that_very_grey(level: int, shown: int):
    """Others that become the same of eight bits are not."""
    plain = opened(remade(saved(Image.new("I;16", (8, 8), level), transparency=40_000)))
    assert plain.getpixel((0, 0)) == (shown, shown, shown)


def test_cmyk_becomes_rgb():
    """Cyan, magenta and yellow in full are black."""
    plain = opened(remade(saved(Image.new("CMYK", (8, 8), (255, 255, 255, 0)), "JPEG")))
    assert max(plain.getpixel((4, 4))) < 10


def test_an_image_is_resized_like_its_processor_does():
    """Bicubic, after everything else."""
    original = opened(image(200, 100))
    expected = original.resize((56, 28), Image.Resampling.BICUBIC)
    assert ImageChops.difference(opened(remade(image(200, 100), [56, 28])), expected).getbbox() is None


@pytest.mark.parametrize("data", [image(24, 16), image(24, 16, "JPEG"), image(24, 16, "GIF")])
def test_a_picture_that_is_cut_off_is_refused(data: bytes):
    """Wherever that is; only its end may be missing, and a little of a note behind it."""
    whole = opened(data).convert("RGB").tobytes()
    for cut in range(len(data)):
        try:
            made = remade(data[:cut])
        except Fault:
            continue
        assert opened(made).tobytes() == whole


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_need_not_say_its_end(progressive: bool, missing: int):
    """Neither whole nor in half."""
    data = image(kind="JPEG", progressive=progressive)
    assert opened(remade(data[:-missing])).tobytes() == opened(data).convert("RGB").tobytes()


def test_a_progressive_jpeg_that_is_cut_off_within_a_scan_is_refused():
    """Even where all of it could be shown, less finely."""
    data = image(kind="JPEG", progressive=True)
    with pytest.raises(Fault, match="cut off"):
        remade(data[: int(len(data) * 0.6)])
