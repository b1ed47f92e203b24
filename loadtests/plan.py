"""What is sent, and when: a piece of a trace, at the rate that is asked for. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from autoscaling.simulator.trace import Counts, Floats, Trace

# Side of the square of pixels that one vision token of a Qwen2-VL covers.
TOKEN_PX = 28
# ServeGen's mm-image has no larger image: a request with more vision tokens has several.
IMAGE_TOKENS_MAX = 1_280
IMAGES_MAX = 8
KEY_SKEW = 1.2  # of Zipf: the first of ten keys sends about a third


@dataclass(frozen=True, slots=True)
class Planned:
    """A request to send `at_s` after the start. `pictures` are the sides in pixels and the seeds of square pictures."""

    at_s: float
    pictures: tuple[tuple[int, int], ...]
    text_tokens: int
    output_tokens: int
    key: int


@dataclass(frozen=True, slots=True)
class Mix:
    """How a trace becomes load. `rate` is in requests/s on average, `repeats` the share of pictures that were sent before,
    `side_px_max` caps pictures, `text_tokens_max` texts and `output_tokens_max` answers, so that a small model can be asked.
    """

    rate: float
    seconds: float
    repeats: float = 0.0
    keys: int = 1
    side_px_max: int = 2_048
    text_tokens_max: int = 100_000
    output_tokens_max: int = 512
    seed: int = 0


def plan(trace: Trace, mix: Mix) -> list[Planned]:
    """A piece of the trace, brought to `rate` by leaving requests out, or by running faster: of all pieces of `seconds`, the
    first with as many requests as asked for, or nearly. Bursts stay bursts.

    Raises ValueError for a trace that is too short.
    """
    rng = np.random.default_rng(mix.seed)
    at_s, rows = _brought_to(mix.rate, trace, rng)
    if not at_s.size or at_s[-1] - at_s[0] < mix.seconds:
        raise ValueError(f"at {mix.rate:g} requests/s the trace is shorter than {mix.seconds:g} s")
    piece = _piece(at_s, mix)
    rows = rows[piece]
    keys = _keys(mix, len(rows), rng)
    pictures = _Pictures(mix, rng)
    sizes = zip(trace.vision_tokens[rows], trace.text_tokens[rows], trace.output_tokens[rows], strict=True)
    return [
        Planned(
            float(at),
            pictures.of(int(vision)),
            min(int(text), mix.text_tokens_max),
            min(int(output), mix.output_tokens_max),
            int(key),
        )
        for at, (vision, text, output), key in zip(at_s[piece] - at_s[piece.start], sizes, keys, strict=True)
    ]


def _brought_to(rate: float, trace: Trace, rng: np.random.Generator) -> tuple[Floats, Counts]:
    """Times of arrival at this rate on average, and which requests of the trace they are."""
    faster = rate * trace.span_s / max(1, len(trace))
    rows = np.flatnonzero(rng.random(len(trace)) < faster)
    return trace.t_s[rows] / max(1.0, faster), rows


def _piece(at_s: Floats, mix: Mix) -> slice:
    starts = np.flatnonzero(at_s <= at_s[-1] - mix.seconds)
    counts = np.searchsorted(at_s, at_s[starts] + mix.seconds) - starts
    best = int(np.argmin(np.abs(counts - mix.rate * mix.seconds)))
    return slice(best, best + int(counts[best]))


def share(planned: Sequence[Planned], index: int, of: int) -> list[Planned]:
    """What one of `of` load generators sends: every `of`-th request."""
    return list(planned[index::of])


class _Pictures:
    """Draws pictures: a new seed each, or one that was drawn before."""

    def __init__(self, mix: Mix, rng: np.random.Generator) -> None:
        self._mix = mix
        self._rng = rng
        self._drawn: list[tuple[int, int]] = []

    def of(self, vision_tokens: int) -> tuple[tuple[int, int], ...]:
        images = min(IMAGES_MAX, ceil(vision_tokens / IMAGE_TOKENS_MAX))
        return tuple(self._next(vision_tokens // images) for _ in range(images))

    def _next(self, tokens: int) -> tuple[int, int]:
        if self._drawn and self._rng.random() < self._mix.repeats:
            return self._drawn[int(self._rng.integers(len(self._drawn)))]
        side_px = min(self._mix.side_px_max, max(TOKEN_PX, TOKEN_PX * round(sqrt(tokens))))
        self._drawn.append((side_px, self._mix.seed * 1_000_000 + len(self._drawn)))
        return self._drawn[-1]


def _keys(mix: Mix, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which key sends each request: a few send most, as tenants do."""
    weights = np.arange(1, mix.keys + 1, dtype=float) ** -KEY_SKEW
    return rng.choice(mix.keys, size=count, p=weights / weights.sum())
