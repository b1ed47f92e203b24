"""The report as one HTML page that needs nothing else: figures, and how they went over time. Pure."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loadtests.record import Record
from loadtests.slo import Slo

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 160, 56, 22
BINS = 60
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 760px; margin: 32px auto; color: #1a1a1a }
h1 { font-size: 22px } h2 { font-size: 15px; margin: 28px 0 4px }
table { border-collapse: collapse } td, th { padding: 3px 14px 3px 0; text-align: right; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left } th { color: #666; font-weight: 500 }
.passed { color: #14713d } .failed { color: #b3261e }
svg text { font: 11px system-ui, sans-serif; fill: #666 } .axis { stroke: #ccc } .line { fill: none; stroke-width: 1.5; stroke-linecap: round }
"""
COLOURS = ("#1f6feb", "#d97706", "#14713d")


def page(
    summary: dict[str, Any], records: Sequence[Record], from_s: float, seconds: float, slo: Slo, title: str
) -> str:
    """The page; the records are those from `from_s` on."""
    answered = [record for record in records if record.answer]
    at_s = [record.at_s - from_s for record in answered]
    return "\n".join(
        [
            f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>",
            f"<h1>{html.escape(title)}</h1>",
            _verdict(summary["verdict"]),
            _times(summary),
            _rates(summary),
            _failures(summary["requests"]["failures"]),
            plot(
                "Requests a second",
                {
                    "due": _counted([record.at_s - from_s for record in records], seconds),
                    "met the SLO": _counted([r.at_s - from_s for r in answered if slo.met(r)], seconds),
                },
                seconds,
            ),
            plot(
                "TTFT, ms (median, p95)",
                _over_time(at_s, [r.answer.ttft_ms for r in answered if r.answer], seconds),
                seconds,
            ),
            plot(
                "TPOT, ms (median, p95)",
                _over_time(at_s, [r.answer.tpot_ms for r in answered if r.answer], seconds),
                seconds,
            ),
        ]
    )


def plot(title: str, lines: Mapping[str, Sequence[float | None]], seconds: float) -> str:
    """A line a series over the run; None is a gap."""
    top = max((value for line in lines.values() for value in line if value is not None), default=0) or 1
    drawn = []
    for (name, line), colour in zip(lines.items(), COLOURS, strict=False):
        points = " ".join(_path(line, top))
        drawn.append(f'<path class="line" stroke="{colour}" d="{points}"><title>{html.escape(name)}</title></path>')
    legend = " · ".join(
        f'<span style="color:{c}">{html.escape(n)}</span>' for n, c in zip(lines, COLOURS, strict=False)
    )
    return (
        f'<h2>{html.escape(title)} <small>{legend}</small></h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH}" y1="8" y2="8"/>'
        f'<text x="{LEFT - 6}" y="12" text-anchor="end">{_short(top)}</text>'
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM}" text-anchor="end">0</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 6}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{seconds:.0f} s</text>{"".join(drawn)}</svg>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _path(line: Sequence[float | None], top: float) -> list[str]:
    pen, points = "M", []
    for i, value in enumerate(line):
        if value is None:
            pen = "M"
            continue
        x = LEFT + (WIDTH - LEFT) * i / max(1, len(line) - 1)
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 8) * value / top
        points.append(f"{pen}{x:.1f} {y:.1f}h.1")  # a point that stands alone is seen, too
        pen = "L"
    return points


def _bins(seconds: float) -> int:
    return max(2, min(BINS, int(seconds)))


def _counted(at_s: Sequence[float], seconds: float) -> list[float | None]:
    counts, _ = np.histogram(at_s, _bins(seconds), (0, seconds))
    return [float(count) for count in counts / (seconds / _bins(seconds))]


def _over_time(at_s: Sequence[float], values: Sequence[float], seconds: float) -> dict[str, list[float | None]]:
    bins = _bins(seconds)
    index = np.minimum((np.asarray(at_s) / seconds * bins).astype(int), bins - 1) if len(at_s) else np.empty(0, int)
    found = np.asarray(values)
    parts = [found[index == i] for i in range(bins)]
    return {
        name: [float(np.percentile(part, at)) if part.size else None for part in parts]
        for name, at in (("median", 50), ("p95", 95))
    }


def _verdict(verdict: dict[str, Any]) -> str:
    slo, kind = verdict["slo"], "passed" if verdict["passed"] else "failed"
    why = "".join(f"<br>{html.escape(reason)}" for reason in verdict["why"])
    return (
        f'<p class="{kind}"><b>{kind.capitalize()}.</b> {verdict["goodput"]:.2%} of all requests had a TTFT of at most'
        f" {slo['ttft_ms']:.0f} ms and a TPOT of at most {slo['tpot_ms']:.0f} ms.{why}</p>"
    )


def _times(summary: dict[str, Any]) -> str:
    names = {
        "ttft_ms": "TTFT, ms",
        "tpot_ms": "TPOT, ms",
        "e2e_ms": "end to end, ms",
        "generator_lag_ms": "generator lag, ms",
    }
    columns = ("mean", "p50", "p90", "p95", "p99")
    rows = [
        f"<tr><td>{name}" + "".join(f"<td>{summary[field][column]:,.1f}" for column in columns)
        for field, name in names.items()
        if summary[field]
    ]
    return "<table><tr><th>" + "".join(f"<th>{column}" for column in columns) + "".join(rows) + "</table>"


def _rates(summary: dict[str, Any]) -> str:
    rates = summary["rates"]
    price = summary["usd_per_1k_images"]
    cells = {
        "requests due": f"{summary['requests']['due']:,}",
        "answered": f"{summary['requests']['answered']:,}",
        "requests/s asked": f"{rates['asked_requests_s']:.2f}",
        "answered/s": f"{rates['answered_requests_s']:.2f}",
        "goodput/s": f"{rates['goodput_requests_s']:.2f}",
        "images/s": f"{rates['images_s']:.2f}",
        "vision tokens/s": f"{rates['vision_tokens_s']:,.0f}",
        "output tokens/s": f"{rates['output_tokens_s']:,.0f}",
        "$ per 1k images": "-" if price is None else f"{price:.4g}",
    }
    return "<p>" + " · ".join(f"{name} <b>{value}</b>" for name, value in cells.items()) + "</p>"


def _failures(failures: dict[str, int]) -> str:
    if not failures:
        return ""
    rows = "".join(f"<tr><td>{html.escape(why)}<td>{count:,}" for why, count in failures.items())
    return f"<h2>Not answered</h2><table>{rows}</table>"
