"""Azure's traces (Azure/AzurePublicDataset, CC-BY): requests as recorded, or drawn from what was published of them.

The trace of multimodal requests (ModServe, SoCC'25) says how long a context is and how many images are in it, not how
much of it they are: all of an image request's context but a prompt is taken for vision tokens.
"""

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from autoscaling.simulator.jsonl import BadTrace
from autoscaling.simulator.thinning import refuse_too_many
from autoscaling.simulator.trace import Counts, Floats, Trace

MINUTE_S = 60.0
MINUTES = 8  # in a window of the digitised series
PROMPT_TOKENS = 200  # of text, in a request with images: our assumption
LONGEST = 128_000  # tokens of a drawn context
IMAGE_SHARE = 0.54  # of requests, where only the sum is known: the digitised days' mean
RANKS = 0.41  # how requests and tokens of a minute go together: their peaks' correlation in the digitised days
BETWEEN = (1.0, 2.0)  # a Beta distribution: with it, day 1 has as many requests as were published
RAW = ("NumImages", "ContextTokens", "GeneratedTokens")
CLASSES = ("image", "text")
QUANTILES = "azure_lmm_2024_digitised_quantiles.csv"


def recorded(path: Path) -> Trace:
    """The raw traces: `TIMESTAMP, NumImages, ContextTokens, GeneratedTokens`; without `NumImages` all are text.

    Raises BadTrace with the line and the field that is missing or no number.
    """
    records = []
    for number, row in enumerate(rows_of(path), start=2):
        try:
            records.append((_unix_s(row["TIMESTAMP"]), *(_count(row, field) for field in RAW)))
        except (KeyError, TypeError, ValueError) as error:
            field = error.args[0] if isinstance(error, (KeyError, FieldError)) else "TIMESTAMP"
            raise BadTrace(f"{path.name}, line {number}: {field} is missing or no number") from None
    if not records:
        raise BadTrace(f"{path.name}: no requests in it")
    t_s, images, context, output = (np.array(column) for column in zip(*records, strict=True))
    vision = _vision(context, images > 0)
    return Trace.of(path.name, t_s - t_s.min(), vision, context - vision, output, images=float(images.sum()))


class FieldError(ValueError):
    """Which field it is."""


def _count(row: dict[str, str], field: str) -> int:
    value = row.get(field, "0") if field == "NumImages" else row[field]
    if not value.strip().isdecimal():
        raise FieldError(field)
    return int(value)


def per_minute(path: Path, rng: np.random.Generator, scale: float) -> Trace:
    """Requests a minute as published; classes and sizes drawn from the published percentiles."""
    sizes = Sizes(path.with_name(QUANTILES))
    counts = [float(row["requests"]) * scale for row in rows_of(path)]
    refuse_too_many(path.name, sum(counts), scale)
    t_s = _within_minutes(counts, rng)
    is_image = rng.random(len(t_s)) < IMAGE_SHARE
    context, output = np.zeros(len(t_s), np.int64), np.zeros(len(t_s), np.int64)
    for kind, chosen in (("image", is_image), ("text", ~is_image)):
        context[chosen] = sizes.draw(f"{kind}_req_input_tokens", int(chosen.sum()), rng)
        output[chosen] = sizes.draw(f"{kind}_req_output_tokens", int(chosen.sum()), rng)
    vision = _vision(context, is_image)
    return Trace.of("azure-lmm-day1", t_s, vision, context - vision, output)


def digitised(path: Path, rng: np.random.Generator, scale: float) -> Trace:
    """Three days, of which each eight minutes' lowest and highest minute are known: minutes between them are drawn."""
    sizes = Sizes(path.with_name(QUANTILES))
    windows = list(rows_of(path))
    parts = []
    for kind in CLASSES:
        seen = "_visible" if kind == "image" else ""
        ranks = rng.standard_normal((len(windows), MINUTES))
        requests = _minutes(windows, f"{kind}_rpm", seen, ranks, rng) * scale
        refuse_too_many(path.name, float(requests.sum()), scale)
        t_s = _within_minutes(requests.ravel(), rng)
        minute = (t_s // MINUTE_S).astype(np.int64)
        token_ranks = RANKS * ranks + np.sqrt(1 - RANKS**2) * rng.standard_normal(ranks.shape)
        tokens = _minutes(windows, f"{kind}_input_tok_per_min", seen, token_ranks, rng) * scale
        answers = _minutes(windows, f"{kind}_output_tok_per_min", seen, ranks, rng) * scale
        context = _to_sum(sizes.draw(f"{kind}_req_input_tokens", len(t_s), rng), minute, tokens.ravel())
        output = _to_sum(sizes.draw(f"{kind}_req_output_tokens", len(t_s), rng), minute, answers.ravel())
        parts.append((t_s, _vision(context, np.full(len(t_s), kind == "image")), context, output))
    t_s, vision, context, output = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Trace.of("azure-lmm-days1to3", t_s, vision, context - vision, output)


class Sizes:
    """Drawn from the published percentiles, on a straight line in the logarithm between two of them."""

    def __init__(self, path: Path) -> None:
        rows = list(rows_of(path))
        self._at = np.array([0.0, *(float(row["percentile"]) for row in rows), 100.0]) / 100
        self._logs = {
            name: np.log([float(rows[0][name]), *(float(row[name]) for row in rows), 2 * float(rows[-1][name])])
            for name in rows[0]
            if name != "percentile"
        }

    def draw(self, name: str, count: int, rng: np.random.Generator) -> Floats:
        return np.exp(np.interp(rng.random(count), self._at, self._logs[name]))


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV, gzip or not; lines that begin with # are comments."""
    with _opened(path) as lines:
        yield from csv.DictReader((line for line in lines if not line.startswith("#")), skipinitialspace=True)


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open()


def _unix_s(timestamp: str) -> float:
    """Their clock has a digit more than Python's."""
    seconds, _, fraction = timestamp.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(seconds.removesuffix("+00:00") + "+00:00").timestamp()
    return whole + float(f"0.{fraction.split('+')[0] or 0}")


def _vision(context: Any, is_image: Any) -> Counts:
    """Half of a context at least."""
    return np.where(is_image, np.maximum(context - PROMPT_TOKENS, context // 2), 0).astype(np.int64)


def _within_minutes(counts: Any, rng: np.random.Generator) -> Floats:
    """So many arrivals in each minute, at any moment of it."""
    whole = np.floor(np.asarray(counts) + rng.random(len(counts))).astype(np.int64)
    return (np.repeat(np.arange(len(whole)), whole) + rng.random(int(whole.sum()))) * MINUTE_S


def _minutes(windows: list[dict[str, str]], field: str, seen: str, ranks: Floats, rng: np.random.Generator) -> Floats:
    """A row of minutes for each window: its lowest, its highest, and between them what is drawn, in the order of `ranks`."""
    lowest, highest = _envelope(windows, field, "min", seen), _envelope(windows, field, "max", seen)
    drawn = np.sort(rng.beta(*BETWEEN, size=ranks.shape), axis=1)
    drawn[:, 0], drawn[:, -1] = 0.0, 1.0
    values = lowest[:, None] + (highest - lowest)[:, None] * drawn
    return np.take_along_axis(values, ranks.argsort(axis=1).argsort(axis=1), axis=1)


def _envelope(windows: list[dict[str, str]], field: str, end: str, seen: str) -> Floats:
    """Where images' are hidden, they are where texts' are."""
    return np.array(
        [
            float(window[f"{field}_{end}{seen}"] or window[f"{field.replace('image', 'text')}_{end}"])
            for window in windows
        ]
    )


def _to_sum(sizes: Floats, minute: Counts, sums: Floats) -> Counts:
    """The same proportions, and so many tokens in each minute."""
    drawn = np.bincount(minute, weights=sizes, minlength=len(sums))
    factor = sums / np.maximum(drawn, 1.0)
    return np.clip(np.round(sizes * factor[minute]), 1, LONGEST).astype(np.int64)
