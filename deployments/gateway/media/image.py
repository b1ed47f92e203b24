"""One image: what its file says, held against the limits, without decoding it.

What engines get is *plain*: one picture, upright, opaque, eight bits of RGB or grey (or a palette of them), and nothing
else in its file. An image whose picture is plain as it lies there is not decoded here: that is the engine's work, and
doing it twice would cost more CPU than the whole rest of the gateway. Any other is made anew (`remake.py`).
"""

from dataclasses import dataclass

from catalog.card import Limits
from deployments.gateway.media.fault import Fault, TooManyBytes
from deployments.gateway.media.formats import gif, jpeg, png, webp
from deployments.gateway.media.formats.anatomy import UPRIGHT, Anatomy, NotAnImage
from deployments.gateway.media.kind import image_format

READERS = {"PNG": png.read, "JPEG": jpeg.read, "WEBP": webp.read, "GIF": gif.read}
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
TAKEN = "PNG, JPEG, WebP or GIF, as image/..."
ON_ITS_SIDE = frozenset({5, 6, 7, 8})
# A scan of a progressive JPEG takes ten bytes, and a pass over all of its pixels: a second goes over so many, and more
# scans than a camera's ten are of no use to anybody.
SCANS_MAX, SCANNED_PIXELS_MAX = 100, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """`width_px` and `height_px` are those of the upright image; `content` its file with the picture alone."""

    format: str
    width_px: int
    height_px: int
    plain: bool
    content: bytes
    orientation: int = UPRIGHT
    whole: bool = True

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]

    @property
    def pixels(self) -> int:
        return self.width_px * self.height_px


def measure(data: bytes, limits: Limits) -> Header:
    """Raises `Fault`."""
    if len(data) > limits.image_bytes_max:
        raise TooManyBytes(limits.image_bytes_max)
    format_ = image_format(data)
    if format_ is None:
        raise NotAnImage
    anatomy = READERS[format_](data)
    _check(anatomy, limits)
    size = anatomy.width_px, anatomy.height_px
    width_px, height_px = size[::-1] if anatomy.orientation in ON_ITS_SIDE else size
    plain = anatomy.plain and anatomy.whole and anatomy.orientation == UPRIGHT
    return Header(format_, width_px, height_px, plain, anatomy.content, anatomy.orientation, anatomy.whole)


def _check(anatomy: Anatomy, limits: Limits) -> None:
    pixels = anatomy.width_px * anatomy.height_px
    if pixels > limits.image_pixels_max:
        raise Fault("image_too_large", f"it has more than {limits.image_pixels_max} pixels. Send a smaller one")
    scans_max = max(1, min(SCANS_MAX, SCANNED_PIXELS_MAX // pixels))
    if anatomy.passes > scans_max:
        raise Fault("invalid_image", f"a JPEG of this size has {scans_max} scans at most. Save it anew")
