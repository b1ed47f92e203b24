"""ServeGen's traces (alibaba/ServeGen, Apache-2.0): clients that arrive in bursts, with sizes drawn from what was measured."""

import ast
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoscaling.simulator.jsonl import BadTrace
from autoscaling.simulator.thinning import refuse_too_many
from autoscaling.simulator.trace import Counts, Floats, Trace

WINDOW_S = 600.0
DATASET_S = 21_600
GAP = 0.1  # of the median rate: a window below it was not recorded whole
# Median and p99 of tokens: vision, text and output of mm-image, and of Azure's conversations.
MM_IMAGE = ((700.0, 4000.0), (400.0, 3000.0), (100.0, 587.0))
TEXTS = ((0.0, 0.0), (1020.0, 4142.0), (129.0, 601.0))


@dataclass(frozen=True, slots=True)
class Window:
    """Arrivals of one client: its mean rate, and the shape of the gaps between them."""

    t_s: float
    rate: float
    pattern: str
    shape: float


def mm_image(folder: Path, rng: np.random.Generator, scale: float) -> Trace:
    """One day of all clients, each `scale` times as busy. Raises BadTrace."""
    clients = sorted(folder.glob("chunk-*-trace.csv"), key=_number)
    if not clients:
        raise BadTrace(f"{folder.name} has no chunk-N-trace.csv: it is no folder of ServeGen's")
    expected = sum(window.rate for client in clients for window in _windows(client)) * WINDOW_S * scale
    refuse_too_many(folder.name, expected, scale)
    parts = [part for client in clients for part in _client(client, rng, scale)]
    t_s, vision, text, output, images = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Trace.of("servegen-mm-image", t_s, vision, text, output, images=float(images.sum()))


def total_rate(path: Path, rng: np.random.Generator, scale: float) -> Trace:
    """The sum of all clients: Poisson arrivals in each window. Gaps in the record are bridged: nobody knows what was there.

    Sizes are not in it: images' are those of `mm-image` on average, texts' those of Azure's conversations of 2023.
    """
    with path.open() as lines:
        rates = np.array([float(row["total_rate_rps"]) for row in csv.DictReader(x for x in lines if x[0] != "#")])
    whole = rates > GAP * np.median(rates)
    expected = np.interp(np.arange(len(rates)), np.flatnonzero(whole), rates[whole]) * WINDOW_S * scale
    refuse_too_many(path.name, float(expected.sum()), scale)
    counts = rng.poisson(expected)
    requests = int(counts.sum())
    t_s = (np.repeat(np.arange(len(rates)), counts) + rng.random(requests)) * WINDOW_S
    has_images = "mm-image" in path.name
    vision, text, output = (_around(*size, requests, rng) for size in (MM_IMAGE if has_images else TEXTS))
    return Trace.of(path.stem, t_s, vision, text, output)


def _number(client: Path) -> tuple[int, str]:
    number = client.name.split("-")[1]
    return int(number) if number.isdecimal() else 0, number


def _around(median: float, p99: float, count: int, rng: np.random.Generator) -> Counts:
    """Log-normal, or always 0."""
    sigma = np.log(p99 / median) / 2.3263 if median else 0.0
    drawn: Counts = np.round(median * np.exp(sigma * rng.standard_normal(count))).astype(np.int64)
    return drawn


def _client(
    path: Path, rng: np.random.Generator, scale: float
) -> Iterator[tuple[Floats, Counts, Counts, Counts, Counts]]:
    datasets = json.loads(path.with_name(path.name.replace("trace.csv", "dataset.json")).read_bytes())
    windows = list(_windows(path))
    for start, dataset in datasets.items():
        begin_s = int(start)
        arrivals = [_arrivals(window, rng, scale) for window in windows if begin_s <= window.t_s < begin_s + DATASET_S]
        t_s = np.concatenate(arrivals) if arrivals else np.empty(0)
        if t_s.size:
            yield t_s, *_sizes(dataset, len(t_s), rng)


def _windows(path: Path) -> Iterator[Window]:
    with path.open() as lines:
        for t_s, rate, _, pattern, shape, _ in csv.reader(lines):
            if pattern:
                yield Window(float(t_s), float(rate), pattern, float(shape))


def _arrivals(window: Window, rng: np.random.Generator, scale: float) -> Floats:
    """As many as the rate says (the fits miss it), with gaps in the proportions that the fit says."""
    expected = window.rate * WINDOW_S * scale
    count = int(expected + rng.random())
    draw = rng.gamma if window.pattern == "Gamma" else rng.weibull
    ends = np.cumsum(draw(window.shape, size=count + 1))
    return window.t_s + WINDOW_S * ends[:-1] / ends[-1] if ends[-1] > 0 else np.full(count, window.t_s)


def _sizes(dataset: dict[str, str], count: int, rng: np.random.Generator) -> tuple[Counts, Counts, Counts, Counts]:
    """Vision, text, output tokens and images. Each is drawn by itself: only the marginals are published."""
    images = _draw(dataset["image_count"], count, rng)
    ends = np.cumsum(images)
    tokens = np.concatenate(([0], np.cumsum(_draw(dataset["image_tokens"], int(images.sum()), rng))))
    vision = tokens[ends] - tokens[ends - images]
    return vision, _draw(dataset["text_tokens"], count, rng), _draw(dataset["output_tokens"], count, rng), images


def _draw(distribution: str, count: int, rng: np.random.Generator) -> Counts:
    """From a dictionary in text, value: probability."""
    weights: dict[float, float] = ast.literal_eval(distribution)
    if not weights or not count:
        return np.zeros(count, np.int64)
    chances = np.fromiter(weights.values(), float)
    values = np.fromiter(weights, float).astype(np.int64)
    return rng.choice(values, size=count, p=chances / chances.sum())
