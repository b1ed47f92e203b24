"""How an image is seen: the work that it is, and the size to which it is shrunk before. Pure."""

from catalog.vision import Seen, UnsupportedSize, Vision
from deployments.gateway.media.fault import Fault
from deployments.gateway.request import Detail
from deployments.pricing import seen_at

Size = tuple[int, int]

# An image from which its processor would take only the fourth part of so many pixels is shrunk here, where CPUs are
# cheap; below that, decoding it twice costs more than it saves.
SHRINK_FACTOR_MIN = 4
SHRINK_PIXELS_MIN = 1_000_000


def view(vision: Vision, width_px: int, height_px: int, detail: Detail) -> tuple[Seen, Size | None]:
    """What the model makes of the image at this `detail`, and the size it must have for that; None: as it is.

    Raises `Fault` for a shape that the model's processor refuses.
    """
    try:
        whole, seen = vision.see(width_px, height_px), seen_at(vision, width_px, height_px, detail)
    except UnsupportedSize as error:
        raise Fault("invalid_image", str(error)) from error
    if (seen.vision_tokens, seen.encoder_patches) != (whole.vision_tokens, whole.encoder_patches):
        return seen, (seen.width_px, seen.height_px)
    enough = vision.enough(width_px, height_px)
    pixels, pixels_enough = width_px * height_px, enough[0] * enough[1]
    saves = pixels >= SHRINK_FACTOR_MIN * pixels_enough and pixels - pixels_enough >= SHRINK_PIXELS_MIN
    return seen, enough if saves else None
