"""What the parts of an image's file say, read part by part and without decoding. Takes a bounded time, whatever the file says."""

from dataclasses import dataclass

from deployments.gateway.media.fault import Fault

# A part costs about a microsecond. Programs write hundreds at most into an image; a PNG of 20 MiB has 5,000 if each holds
# four KiB.
PARTS_MAX = 10_000
# Notes that may say how the camera was held: one of EXIF and one of XMP are usual.
NOTES_MAX = 4
UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class Anatomy:
    """`content`: the same file with its picture alone: no profiles, notes or thumbnails, no second picture, nothing behind
    its end. `width_px` and `height_px` are as it lies in the file; `orientation` (1 to 8, as in EXIF) says how it is shown.

    `plain`: all engines see the picture alike: one, opaque, of eight bits of RGB or grey (or a palette of them). `whole`:
    the file has its end. `passes`: how often its pixels are gone over to decode them.
    """

    content: bytes
    width_px: int
    height_px: int
    plain: bool
    whole: bool = True
    orientation: int = UPRIGHT
    passes: int = 1


class NotAnImage(Fault):
    def __init__(self) -> None:
        super().__init__("invalid_image_format", "these bytes are not a PNG, JPEG, WebP or GIF image")


class CutOff(Fault):
    def __init__(self) -> None:
        super().__init__("image_parse_error", "the image is cut off")


class TooManyParts(Fault):
    def __init__(self) -> None:
        super().__init__("invalid_image", f"its file has more than {PARTS_MAX} parts. Save it anew")
