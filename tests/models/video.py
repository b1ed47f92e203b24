"""Clips, as parts of a message."""

import base64
import io
import random
from typing import Any

from PIL import Image


def clip_of_frames(frames: int, width_px: int, height_px: int) -> dict[str, Any]:
    """As vLLM takes frames that were decoded before: JPEGs, one a second."""
    return part("video/jpeg", ",".join(_jpeg(number, width_px, height_px) for number in range(frames)))


def part(kind: str, data: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:{kind};base64,{data}"}}


def _jpeg(seed: int, width_px: int, height_px: int) -> str:
    squares = Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(8 * 8 * 3))
    out = io.BytesIO()
    squares.resize((width_px, height_px), Image.Resampling.NEAREST).save(out, "JPEG")
    return base64.b64encode(out.getvalue()).decode()
