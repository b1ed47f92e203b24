"""Images before the GPU: loaded within bounds, checked, measured from the header, hashed, shrunk where asked.

An image is decoded here only to shrink it, or where its end is missing: decoding is the engine's work, and doing it
twice would cost more CPU than the whole rest of the gateway. What the engine gets is always a data URL.
"""

import asyncio
import binascii
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import pybase64
from PIL import Image, ImageOps

from catalog.card import ModelCard
from catalog.vision import Seen, UnsupportedSize, Vision
from deployments.gateway.errors import BadImage, BadRequest
from deployments.gateway.fetch import Fetcher
from deployments.gateway.request import ChatRequest, Detail
from deployments.pricing import seen_at

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
# What each format ends with, and how far from the end to look for it: some cameras append a few bytes.
ENDINGS = {"PNG": (b"IEND", 64), "JPEG": (b"\xff\xd9", 1024)}
DATA_URL_START = "data:"
DECODERS_MAX = 2

T = TypeVar("T")

# Our own cap is checked on the header, before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the engine gets it, and the work that it is there."""

    data_url: str
    sha256: str
    vision_tokens: int
    encoder_patches: int = 0


class Media:
    """Loads the images of a request."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        # Few: each decoded image may take some hundred megabytes.
        self._decoders = ThreadPoolExecutor(DECODERS_MAX, thread_name_prefix="decode")

    async def load(self, chat: ChatRequest, card: ModelCard) -> list[Picture]:
        """Every image of the request, in order. Raises `BadImage` or `BadRequest`, which name the part at fault."""
        images = chat.images()
        if len(images) > card.inputs.images_max:
            raise BadRequest(
                f"The request has {len(images)} images; this model takes at most {card.inputs.images_max}.",
                param=images[card.inputs.images_max][0],
            )
        return await asyncio.gather(
            *(self._load(image.image_url.url, image.image_url.detail, card, param) for param, image in images)
        )

    async def _load(self, url: str, detail: Detail, card: ModelCard, param: str) -> Picture:
        if url.startswith(DATA_URL_START):
            data, data_url = decode_data_url(url, param), url
        else:
            data, data_url = await self._fetcher.fetch(url, param), ""
        header = measure(data, card, param)
        if _looks_cut(data, header.format):
            await self._decode(check_decodes, data, param)
        seen, shrink = target(card.vision, header.width_px, header.height_px, detail, param)
        if shrink:
            data = await self._decode(shrunk, data, seen, param)
            header, data_url = replace(header, format="PNG"), ""
        if not data_url:
            data_url = f"data:{FORMATS[header.format]};base64,{pybase64.b64encode_as_string(data)}"
        digest = hashlib.sha256(data).hexdigest()
        return Picture(data_url, digest, seen.vision_tokens, seen.encoder_patches)

    async def _decode(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work, *arguments)


@dataclass(frozen=True, slots=True)
class Header:
    """What an image's first bytes say."""

    format: str
    width_px: int
    height_px: int


def decode_data_url(url: str, param: str) -> bytes:
    """The bytes of `data:image/...;base64,...`. Raises `BadImage`."""
    head, comma, payload = url.partition(",")
    kind = head[len(DATA_URL_START) :].lower()
    if not comma or not kind.endswith(";base64"):
        raise BadImage("invalid_image_url", f"'{param}' is not a data URL with base64.", param=param)
    if not kind.startswith("image/"):
        raise BadImage(
            "unsupported_image_media_type", f"'{param}': send PNG, JPEG, WebP or GIF, as image/....", param=param
        )
    try:
        data = pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("invalid_base64_image", f"'{param}': the base64 does not decode.", param=param) from error
    if not data:
        raise BadImage("empty_image_file", f"'{param}': the image is empty.", param=param)
    return data


def measure(data: bytes, card: ModelCard, param: str) -> Header:
    """Read format and size from the header, without decoding, and hold them against the card. Raises `BadImage`."""
    limits = card.limits
    if len(data) > limits.image_bytes_max:
        raise BadImage(
            "image_file_too_large",
            f"'{param}': the image is above {limits.image_bytes_max} bytes. Send a smaller one.",
            param=param,
        )
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            # Some cameras put several pictures into one JPEG, which Pillow calls MPO; the first is the picture.
            header = Header("JPEG" if image.format == "MPO" else str(image.format), *image.size)
    except (OSError, ValueError, SyntaxError) as error:
        # Pillow's readers raise all three for headers that make no sense.
        raise BadImage(
            "invalid_image_format", f"'{param}': these bytes are not a PNG, JPEG, WebP or GIF image.", param=param
        ) from error
    if header.width_px * header.height_px > limits.image_pixels_max:
        raise BadImage(
            "image_too_large",
            f"'{param}': the image has more than {limits.image_pixels_max} pixels. Send a smaller one.",
            param=param,
        )
    return header


def target(vision: Vision, width_px: int, height_px: int, detail: Detail, param: str) -> tuple[Seen, bool]:
    """What the engine will make of the image at this `detail`, and whether it must be shrunk for that beforehand.

    Raises `BadImage` for a shape that the model's processor refuses.
    """
    try:
        whole, seen = vision.see(width_px, height_px), seen_at(vision, width_px, height_px, detail)
    except UnsupportedSize as error:
        raise BadImage("invalid_image", f"'{param}': {error}.", param=param) from error
    return seen, seen.vision_tokens < whole.vision_tokens


def check_decodes(data: bytes, param: str) -> None:
    """Decode the whole image. Raises `BadImage` if that fails."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage("image_parse_error", f"'{param}': the image is cut off or damaged.", param=param) from error


def shrunk(data: bytes, seen: Seen, param: str) -> bytes:
    """The image as a PNG of exactly the size that the model's processor would choose. Raises `BadImage`.

    Turned upright and laid on white, as the engines do with what they get.
    """
    check_decodes(data, param)
    with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        turned = upright.size != image.size
    white = Image.new("RGBA", upright.size, "white")
    rgb = Image.alpha_composite(white, upright).convert("RGB")
    size = (seen.height_px, seen.width_px) if turned else (seen.width_px, seen.height_px)
    out = io.BytesIO()
    rgb.resize(size, Image.Resampling.BICUBIC).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _looks_cut(data: bytes, format_: str) -> bool:
    if format_ == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if format_ == "WEBP":  # RIFF: the size of all that follows its own field is in bytes 4 to 7
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    ending, within = ENDINGS[format_]
    return ending not in data[-within:]
