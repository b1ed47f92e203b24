"""What is asked of every stack: cases, and the bodies of a case. Seeded: the same case has the same bodies everywhere."""

import io
import json
from base64 import b64encode
from dataclasses import dataclass
from math import isqrt

import numpy as np
from PIL import Image

SMALL_PX = 224
BLOCKS = 8
OUTPUT_TOKENS = 16
QUESTION = "What is in the image?"
SMALL = "224 px"
# The sizes of the large pictures in bytes: noise does not compress, so they are as big as their pixels.
LARGE_BYTES = {"1 MB": 1_000_000, "5 MB": 5_000_000}
LARGE_CLIENTS_MAX = 8
REQUESTS = {1: 200, 8: 400, 32: 800}
# Their cost is the engine's above all: up to 1,280 vision tokens each.
LARGE_REQUESTS = {"1 MB": {1: 30, 8: 48}, "5 MB": {1: 12, 8: 24}}
# A quick run looks whether everything works; its figures are rough.
QUICK_SHARE = 8
WARM_UP_MIN = 8
# Room for the pictures of one case and its warm-up, so that no two requests of a run share one.
SEEDS_PER_CASE = 1_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: `requests` requests from `clients` clients, each sending its next as soon as one is answered.

    `image` is a key of `LARGE_BYTES`, or `SMALL`. `seed` is the first of the case's pictures.
    """

    image: str
    stream: bool
    clients: int
    requests: int
    seed: int

    @property
    def mode(self) -> str:
        return "stream" if self.stream else "unary"

    @property
    def warm_up(self) -> "Case":
        """As the case itself, shorter and with other pictures."""
        requests = max(WARM_UP_MIN, 2 * self.clients) if self.image == SMALL else 1 + self.clients
        return Case(self.image, self.stream, self.clients, requests, self.seed + self.requests)


def cases(clients: list[int], *, quick: bool, requests: int | None) -> list[Case]:
    """All cases of a run, in order. `requests` overrides how many each sends. Pure."""
    kinds = [(SMALL, stream, count) for stream in (False, True) for count in clients]
    kinds += [(image, False, count) for image in LARGE_BYTES for count in clients if count <= LARGE_CLIENTS_MAX]
    return [
        Case(image, stream, count, requests or request_count(image, count, quick=quick), i * SEEDS_PER_CASE)
        for i, (image, stream, count) in enumerate(kinds)
    ]


def request_count(image: str, clients: int, *, quick: bool) -> int:
    """How many requests make steady figures in some seconds. Pure."""
    known, each = (REQUESTS, 25) if image == SMALL else (LARGE_REQUESTS[image], 6)
    count = known.get(clients, each * clients)
    return max(2 * clients, count // QUICK_SHARE) if quick else count


def bodies(case: Case, model: str) -> list[bytes]:
    """The JSON bodies of a case, each with a picture of its own. Pure."""
    return [body(case, model, case.seed + i) for i in range(case.requests)]


def body(case: Case, model: str, seed: int) -> bytes:
    picture = small_png(seed) if case.image == SMALL else noise_png(seed, LARGE_BYTES[case.image])
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64encode(picture).decode()}},
        {"type": "text", "text": QUESTION},
    ]
    request = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": OUTPUT_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": case.stream,
    }
    if case.stream:
        request["stream_options"] = {"include_usage": True}
    return json.dumps(request).encode()


def small_png(seed: int) -> bytes:
    """224 x 224 px of 8 x 8 coloured blocks: about a kilobyte."""
    blocks = np.random.default_rng(seed).integers(0, 256, (BLOCKS, BLOCKS, 3), dtype=np.uint8)
    return _png(Image.fromarray(blocks).resize((SMALL_PX, SMALL_PX), Image.Resampling.NEAREST))


def noise_png(seed: int, size_bytes: int) -> bytes:
    """A square of noise whose file is `size_bytes` long, within one per cent."""
    side_px = isqrt(size_bytes // 3)
    return _png(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
