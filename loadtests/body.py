"""The bodies of requests, made before the load begins: encoding pictures while it runs would show up as TTFT. Pure."""

import io
import json
from base64 import b64encode
from functools import lru_cache

import numpy as np
from PIL import Image

from loadtests.plan import Planned

BLOCKS = 8  # a picture is 8 x 8 coloured blocks: unique, and small as a file
WORD = "word "  # about a token
QUESTION = "What is in the image?"


def body(planned: Planned, model: str) -> bytes:
    """A streamed chat completion that produces as many tokens as the trace had."""
    content = [{"type": "image_url", "image_url": {"url": _url(*picture)}} for picture in planned.pictures]
    filler = WORD * max(0, planned.text_tokens - len(QUESTION.split()))
    request = {
        "model": model,
        "messages": [{"role": "user", "content": [*content, {"type": "text", "text": filler + QUESTION}]}],
        "max_tokens": planned.output_tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(request).encode()


@lru_cache(maxsize=256)
def _url(side_px: int, seed: int) -> str:
    blocks = np.random.default_rng(seed).integers(0, 256, (BLOCKS, BLOCKS, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((side_px, side_px), Image.Resampling.NEAREST).save(out, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(out.getvalue()).decode()
