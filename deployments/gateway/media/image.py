"""One image: its header, whether it is plain, and how it is made so.

*Plain* is what every engine and every model's processor sees alike: one picture, upright, opaque, eight bits of RGB or
grey (or a palette of them), with nothing behind its end. Plain images reach the engine as they are: decoding is the
engine's work, and doing it twice would cost more CPU than the whole rest of the gateway.
"""

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import ExifTags, Image

from catalog.card import Limits
from deployments.gateway.media.fault import Fault, TooManyBytes

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
TAKEN = "PNG, JPEG, WebP or GIF, as image/..."
PLAIN_MODES = frozenset({"RGB", "L", "1", "P"})
ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
GREY_16_BIT = frozenset({"I", "I;16", "I;16B", "I;16L"})
UPRIGHT = 1
# What turns an image upright, by its orientation in EXIF or XMP.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = frozenset({5, 6, 7, 8})
# What each format ends with, and how far from the end to look for it: some cameras append a few bytes.
ENDINGS = {"PNG": (b"IEND", 64), "JPEG": (b"\xff\xd9", 1024)}
# An orientation may also stand behind a PNG's pixels, where we do not look and an engine might.
PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
# Each scan of a progressive JPEG is a pass over all of its pixels, and takes but ten bytes.
SCAN, SCANS_MAX = b"\xff\xda", 100
# Pillow's readers raise all of these for bytes that make no sense.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error, zlib.error)

# Our own cap is checked on the header, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's first bytes say; width and height are those of the upright image."""

    format: str
    width_px: int
    height_px: int
    plain: bool

    @property
    def media_type(self) -> str:
        return FORMATS[self.format]

    @property
    def pixels(self) -> int:
        return self.width_px * self.height_px


def measure(data: bytes, limits: Limits) -> Header:
    """Read the header, without decoding, and hold it against the limits. Raises `Fault`."""
    if len(data) > limits.image_bytes_max:
        raise TooManyBytes(limits.image_bytes_max)
    try:
        with _opened(data) as image:
            header = _header(image, data)
    except BROKEN as error:
        raise Fault("invalid_image_format", "these bytes are not a PNG, JPEG, WebP or GIF image") from error
    if header.pixels > limits.image_pixels_max:
        raise Fault("image_too_large", f"it has more than {limits.image_pixels_max} pixels. Send a smaller one")
    if header.format == "JPEG" and data.count(SCAN) > SCANS_MAX:
        raise Fault("invalid_image", f"this JPEG has more than {SCANS_MAX} scans. Save it anew")
    return header


def remade(data: bytes, size: tuple[int, int] | None) -> bytes:
    """The image as a plain PNG; at `size`, if one is given. Raises `Fault`."""
    try:
        with _opened(data) as image:
            orientation = _orientation(image)
            image.load()
            plain = _opaque(image)
    except BROKEN as error:
        raise _damaged() from error
    if orientation != UPRIGHT:
        plain = plain.transpose(TURNS[orientation])
    if size is not None:
        plain = plain.resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    plain.save(out, "PNG", compress_level=1)
    return out.getvalue()


def check_decodes(data: bytes) -> None:
    """Decode the whole image. Raises `Fault` if that fails."""
    try:
        with _opened(data) as image:
            image.load()
    except BROKEN as error:
        raise _damaged() from error


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=tuple(FORMATS))


def _header(image: Image.Image, data: bytes) -> Header:
    # Some cameras put several pictures into one JPEG, which Pillow calls MPO; the first is the picture.
    format_ = "JPEG" if image.format == "MPO" else str(image.format)
    orientation = _orientation(image)
    width_px, height_px = image.size if orientation not in ON_ITS_SIDE else image.size[::-1]
    plain = (
        orientation == UPRIGHT
        and image.mode in PLAIN_MODES
        and "transparency" not in image.info
        and not (format_ != "JPEG" and getattr(image, "is_animated", False))
        and not (format_ == "PNG" and any(mark in data for mark in PNG_ORIENTATION))
        and _ends_properly(data, format_)
    )
    return Header(format_, width_px, height_px, plain)


def _orientation(image: Image.Image) -> int:
    try:
        # Not the format's own `getexif`: a PNG's decodes the whole image, to look behind its pixels.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except BROKEN:
        return UPRIGHT  # as the engines have it
    return orientation if orientation in TURNS else UPRIGHT


def _ends_properly(data: bytes, format_: str) -> bool:
    if format_ == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    if format_ == "WEBP":  # RIFF: the size of all that follows its own field is in bytes 4 to 7
        return len(data) <= 8 + int.from_bytes(data[4:8], "little") + 1
    ending, within = ENDINGS[format_]
    return ending in data[-within:]


def _opaque(image: Image.Image) -> Image.Image:
    """As RGB, on white: as vLLM shows it, and the other engines do not."""
    if image.mode in GREY_16_BIT:  # Pillow would cut off what is above 255
        return image.convert("I").point(lambda level: level / 256).convert("L").convert("RGB")
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise Fault("invalid_image_mode", "its colours cannot be converted to RGB. Save it as RGB") from error


def _damaged() -> Fault:
    return Fault("image_parse_error", "the image is cut off or damaged")
