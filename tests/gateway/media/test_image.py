import io
import struct
import zlib

import pytest
from PIL import Image, ImageChops

from catalog import load_catalog
from deployments.gateway.media.fault import Fault
from deployments.gateway.media.image import measure
from tests.gateway.media.samples import image, png, saved

LIMITS = load_catalog().find("demo-qwen2-vl").limits


PLAIN = {
    "PNG": image(),
    "JPEG": image(kind="JPEG"),
    "WebP": image(kind="WEBP"),
    "GIF": image(kind="GIF"),
    "grey": image(mode="L"),
    "one bit": image(mode="1"),
    "palette": image(mode="P"),
    "progressive": image(kind="JPEG", progressive=True),
    "with a camera's few bytes behind": image(kind="JPEG") + bytes(100),
    "with another file behind": image() + b"PK\3\4" * 1000,
    "with a line's end behind": image(kind="GIF") + b"\n",
    "two in one JPEG": saved(
        Image.new("RGB", (8, 8)), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]
    ),
    "moving GIF": saved(
        Image.new("RGB", (20, 10), "red"), "GIF", save_all=True, append_images=[Image.new("RGB", (20, 10), "blue")]
    ),
    "moving PNG": saved(
        Image.new("RGB", (20, 10), "red"), "PNG", save_all=True, append_images=[Image.new("RGB", (20, 10), "blue")]
    ),
    "an orientation behind the pixels": png(8, 8, after=((b"eXIf", b"MM\0*\0\0\0\x08\0\0"),)),
}


# As a printer's profile is large, and as editors write their history.
NOTE = bytes(range(256)) * 8 * 1024


SHOWN_BY_BROWSERS = {
    "a note with a wrong checksum": png(8, 8, before=((b"tEXt", b"a\0b"),)).replace(b"a\0b", b"a\0c"),
    "a profile of 2 MiB": png(8, 8, before=((b"iCCP", b"icc\0\0" + zlib.compress(NOTE)),)),
    "two profiles": png(8, 8, before=((b"iCCP", b"icc\0\0" + zlib.compress(NOTE)),) * 2),
    "XMP of 2 MiB": png(8, 8, before=((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + NOTE),)),
    "packed XMP of 2 MiB": png(8, 8, before=((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(NOTE)),)),
    "a hundred notes": png(8, 8, before=[(b"zTXt", b"%d\0\0" % i + zlib.compress(NOTE)) for i in range(100)]),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_what_every_engine_sees_alike_is_plain(data: bytes):
    """It need not be decoded here."""
    assert measure(data, LIMITS).plain


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_plain_picture_goes_on_alone(data: bytes):
    """What is measured as its content has the same pixels, is measured the same, and loses nothing more."""
    header = measure(data, LIMITS)
    assert measure(header.content, LIMITS) == header
    with Image.open(io.BytesIO(header.content)) as alone, Image.open(io.BytesIO(data)) as sent:
        assert getattr(alone, "n_frames", 1) == 1
        assert ImageChops.difference(alone.convert("RGB"), sent.convert("RGB")).getbbox() is None


@pytest.mark.parametrize("data", SHOWN_BY_BROWSERS.values(), ids=SHOWN_BY_BROWSERS)
def test_what_browsers_show_is_taken(data: bytes):
    """Pillow, and so an engine, would refuse it for what lies beside the picture."""
    header = measure(data, LIMITS)
    assert header.plain
    assert header.content == png(8, 8)


@pytest.mark.parametrize("said", [0, 1, 2**31])
def test_a_webp_may_say_a_wrong_size_of_itself(said: int):
    """What counts is its picture; the size that goes on is the true one."""
    data = saved(Image.new("RGB", (8, 8), "red"), "WEBP", lossless=True)
    true = int.from_bytes(data[4:8], "little")
    assert measure(data[:4] + struct.pack("<I", true + said) + data[8:], LIMITS).content == data


def test_a_webp_that_is_cut_off_is_told_so():
    """It is an image, and not all of it."""
    with pytest.raises(Fault, match="cut off") as refused:
        measure(image(kind="WEBP")[:-20], LIMITS)
    assert refused.value.code == "image_parse_error"


@pytest.mark.parametrize(("frame", "bits"), [(b"\xff\xc1", 12), (b"\xff\xc3", 8)])
def test_a_jpeg_that_no_browser_shows_is_refused_by_name(frame: bytes, bits: int):
    """Of twelve bits, or without loss."""
    data = image(kind="JPEG")
    at = data.index(b"\xff\xc0")
    with pytest.raises(Fault, match="eight bits") as refused:
        measure(data[:at] + frame + data[at + 2 : at + 4] + bytes([bits]) + data[at + 5 :], LIMITS)
    assert refused.value.code == "invalid_image_mode"


def test_an_orientation_that_makes_no_sense_is_none():
    """As engines have it."""
    exif = Image.Exif()
    exif[0x0112] = 9
    assert measure(saved(Image.new("RGB", (8, 32)), "JPEG", exif=exif), LIMITS).plain


def test_an_image_is_bounded_in_pixels():
    """By the card's cap, to the pixel, before it is decoded."""
    limits = LIMITS.model_copy(update={"image_pixels_max": 112 * 112})
    assert measure(image(112, 112), limits).pixels == 112 * 112
    with pytest.raises(Fault) as refused:
        measure(image(113, 112), limits)
    assert refused.value.code == "image_too_large"


@pytest.mark.parametrize(
    ("side_px", "scans", "taken"),
    [(112, 100, True), (112, 101, False), (7000, 20, True), (7000, 21, False)],
)
def test_a_jpeg_is_gone_over_a_bounded_number_of_times(side_px: int, scans: int, taken: bool):
    """Each scan is a pass over all of its pixels: a hundred, and fewer of a large one."""
    data = image(kind="JPEG")
    size, at = data.index(b"\xff\xc0") + 5, data.rindex(b"\xff\xda")
    data = data[:size] + struct.pack(">HH", side_px, side_px) + data[size + 4 : at] + data[at:-2] * scans + data[-2:]
    if taken:
        measure(data, LIMITS)
    else:
        with pytest.raises(Fault, match=f"{scans - 1} scans"):
            measure(data, LIMITS)
