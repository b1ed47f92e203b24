"""The request that a price is made for, and when each one is sent. Pure, and the same for the same seed."""

import io
import json
from base64 import b64encode
from dataclasses import dataclass

import numpy as np
from PIL import Image

from catalog.card import ModelCard
from deployments.gateway.media.view import view
from deployments.pricing import image_price

BLOCKS = 8  # a picture is 8 x 8 coloured blocks: unique, and small as a file
# The request of a price: 1,196 vision tokens on a Qwen2-VL, one unit, and an answer of a paragraph.
WIDTH_PX, HEIGHT_PX = 1280, 720
OUTPUT_TOKENS = 150
QUESTION = "Describe this picture: what is to be seen, and where in it is it?"  # 64 characters, 64 tokens at most


@dataclass(frozen=True, slots=True)
class Standard:
    """One picture, a short question, an answer of a fixed length. `units` is what it costs.

    The sides are those that the gateway sends to an engine at `detail: auto`.
    """

    model: str
    width_px: int
    height_px: int
    vision_tokens: int
    units: int
    output_tokens: int


def standard(
    card: ModelCard, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX, output_tokens: int = OUTPUT_TOKENS
) -> Standard:
    """A card that allows no such answer gets its longest. Raises `UnsupportedSize` where the model's processor refuses the picture's shape."""
    priced = image_price(card, width_px, height_px)
    _, shrunk_px = view(card.vision, width_px, height_px, "auto")
    tokens = min(output_tokens, card.limits.output_tokens_max)
    return Standard(card.served_name, *(shrunk_px or (width_px, height_px)), priced.vision_tokens, priced.units, tokens)


def body(request: Standard, seed: int) -> bytes:
    """A streamed chat completion about a picture that no other seed has."""
    content = [
        {"type": "image_url", "image_url": {"url": _picture(request.width_px, request.height_px, seed)}},
        {"type": "text", "text": QUESTION},
    ]
    return json.dumps(
        {
            "model": request.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": request.output_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


def arrivals_s(count: int, rate: float, seed: int) -> list[float]:
    """When each of `count` requests is due, as independent users come: a Poisson process, given how many came."""
    return sorted(np.random.default_rng(seed).uniform(0.0, count / rate, count).tolist())


def _picture(width_px: int, height_px: int, seed: int) -> str:
    blocks = np.random.default_rng(seed).integers(0, 256, (BLOCKS, BLOCKS, 3), dtype=np.uint8)
    out = io.BytesIO()
    picture = Image.fromarray(blocks).resize((width_px, height_px), Image.Resampling.NEAREST)
    picture.save(out, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(out.getvalue()).decode()
