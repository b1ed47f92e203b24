"""A line chart as SVG: no library, no script, nothing to fetch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from autoscaling.simulator.trace import Floats

WIDTH, HEIGHT = 960, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 28, 26
# Told apart by people who are colour-blind (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
POINTS = 480


@dataclass(frozen=True, slots=True)
class Line:
    """Values at even distances over the whole chart."""

    name: str
    values: Floats
    colour: str


@dataclass(frozen=True, slots=True)
class Chart:
    """`highest` of each point's span is drawn if what matters are peaks, else the mean."""

    title: str
    unit: str
    lines: Sequence[Line]
    hours: float
    peaks: bool = False
    lowest: float = 0.0
    highest: float | None = None

    def svg(self) -> str:
        drawn = [(line, _thinned(line.values, self.peaks)) for line in self.lines]
        top = self.highest or max((float(values.max()) for _, values in drawn if values.size), default=1.0) or 1.0
        ticks = _ticks(self.lowest, top)
        top = max(top, ticks[-1])
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            f'<text x="{LEFT}" y="16" class="title">{escape(self.title)}</text>',
            f'<text x="{LEFT - 8}" y="16" class="tick" text-anchor="end">{escape(self.unit)}</text>',
            *(self._row(tick, top) for tick in ticks),
            *(self._column(hour) for hour in _ticks(0.0, self.hours)),
            *(self._path(line, values, top) for line, values in drawn if values.size),
            "</svg>",
        ]
        return "\n".join(parts)

    def _row(self, value: float, top: float) -> str:
        y = self._y(value, top)
        return (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" class="tick" text-anchor="end">{value:g}</text>'
        )

    def _column(self, hour: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * hour / self.hours
        return f'<text x="{x:.1f}" y="{HEIGHT - 8}" class="tick" text-anchor="middle">{hour:g} h</text>'

    def _path(self, line: Line, values: Floats, top: float) -> str:
        step = (WIDTH - LEFT - RIGHT) / max(len(values) - 1, 1)
        points = " ".join(
            f"{LEFT + index * step:.1f},{self._y(float(value), top):.1f}" for index, value in enumerate(values)
        )
        return f'<polyline points="{points}" stroke="{line.colour}"><title>{escape(line.name)}</title></polyline>'

    def _y(self, value: float, top: float) -> float:
        inside = min(max(value, self.lowest), top)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (inside - self.lowest) / (top - self.lowest)


def _thinned(values: Floats, peaks: bool) -> Floats:
    """At most so many points. What is not known (nothing arrived) is as it was before."""
    parts = [part[~np.isnan(part)] for part in np.array_split(values, min(POINTS, max(len(values), 1)))]
    thinned, last = [], math.nan
    for part in parts:
        last = float(part.max() if peaks else part.mean()) if part.size else last
        thinned.append(last)
    found = np.array(thinned)
    known: Floats = found[~np.isnan(found)]
    return known


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers from `low` to `high`."""
    span = max(high - low, 1e-9)
    step = 10 ** math.floor(math.log10(span))
    step = next(size for size in (step / 5, step / 2, step, step * 2) if span / size <= 8)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]
