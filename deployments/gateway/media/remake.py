"""An image made plain. Runs as a process of its own: `python -m deployments.gateway.media.remake`."""

import hashlib
import io
import struct
import zlib

from PIL import Image, ImageMath

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.reader import Found, main

ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
GREY_16_BIT = frozenset({"I", "I;16", "I;16B", "I;16L"})
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
# Pillow's readers raise all of these for bytes that make no sense.
BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error, zlib.error)
JPEG_END = b"\xff\xd9"
# Stands for pixels that may be missing before a JPEG's end.
ANY_PIXELS = b"\x55" * 64

# The cap is the gateway's, and was checked before.
Image.MAX_IMAGE_PIXELS = None


def read(data: bytes, format: str, orientation: int, size: list[int] | None, *, whole: bool) -> Found:  # noqa: A002  # as Pillow calls it
    """The image as a plain PNG; at `size`, if one is given. Raises `Fault`."""
    if format == "JPEG" and not whole:
        data = _ended(data)
    try:
        with _opened(data, format) as image:
            image.load()
            plain = _opaque(image)
    except BROKEN as error:
        raise _damaged() from error
    if orientation in TURNS:
        plain = plain.transpose(TURNS[orientation])
    if size is not None:
        plain = plain.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    plain.save(out, "PNG", compress_level=1)
    return {}, (out.getvalue(),)


def _opened(data: bytes, format_: str) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=(format_,))


def _ended(data: bytes) -> bytes:
    """A JPEG without its end, with one. Raises `Fault` if pixels are missing as well.

    A decoder makes up for missing pixels; so where others before the end change the picture, some were missing.
    """
    data = data.removesuffix(JPEG_END[:1])
    if _pixels(data + JPEG_END) != _pixels(data + ANY_PIXELS + JPEG_END):
        raise _damaged()
    return data + JPEG_END


def _pixels(data: bytes) -> bytes:
    """What is enough to compare them by."""
    try:
        with _opened(data, "JPEG") as image:
            return hashlib.sha256(image.tobytes()).digest()
    except BROKEN as error:
        raise _damaged() from error


def _opaque(image: Image.Image) -> Image.Image:
    """As RGB, on white: as vLLM shows it, and the other engines do not."""
    if image.mode in GREY_16_BIT:  # Pillow would cut off what is above 255
        return _grey_of_8_bits(image).convert("RGB")
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise Fault("invalid_image_mode", "its colours cannot be converted to RGB. Save it as RGB") from error


def _grey_of_8_bits(image: Image.Image) -> Image.Image:
    levels = image.convert("I")
    grey = levels.point(lambda level: level / 256).convert("L")
    if isinstance(clear := image.info.get("transparency"), int):
        grey.paste(
            255, mask=ImageMath.lambda_eval(lambda of: of["convert"](255 * (of["levels"] == clear), "L"), levels=levels)
        )
    return grey


def _damaged() -> Fault:
    return Fault("image_parse_error", "the image is cut off or damaged")


if __name__ == "__main__":
    main(read)
