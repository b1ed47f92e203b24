"""A report as one HTML file: a table, and what happened over time, each policy a line."""

from collections.abc import Mapping
from html import escape

import numpy as np

from autoscaling.simulator.plot import COLOURS, Chart, Line
from autoscaling.simulator.result import HOUR_S, Result
from autoscaling.simulator.trace import Floats

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } svg { width: 100%; margin: 0.8rem 0; } polyline { fill: none; stroke-width: 1.5; }
.grid { stroke: #e3e6ea; } .tick { font-size: 11px; fill: #59636e; } .title { font-size: 14px; font-weight: 600; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: right; padding: 0.3rem 0.6rem; }
th { border-bottom: 1px solid #1b1f24; font-weight: 600; } td { border-bottom: 1px solid #e3e6ea; }
td:first-child, th:first-child { text-align: left; } .swatch { display: inline-block; width: 1.2em; height: 3px;
vertical-align: middle; margin-right: 0.5em; } .missed { color: #b3261e; } p { color: #59636e; }
"""
HEADINGS = ("policy", "GPU-hours", "of the bound", "met", "worst hour", "p99 to first token", "starts/h", "$/1k images")


def page(trace: str, results: Mapping[str, Result], bound_gpu_hours: float | None, target: float, note: str) -> str:
    """`results` by policy; the first is what the report is about. All have run the same trace."""
    colours = dict(zip(results, COLOURS * len(results), strict=False))
    first = next(iter(results.values()))
    rows = (_row(name, result, colours[name], bound_gpu_hours, target) for name, result in results.items())
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(trace)}</title><style>{STYLE}</style>',
            f"<h1>{escape(trace)}: {first.requests:,} requests in {first.span_s / HOUR_S:.1f} h</h1>",
            f"<p>{escape(note)}</p>",
            f"<table><tr>{''.join(f'<th>{heading}</th>' for heading in HEADINGS)}</tr>{''.join(rows)}</table>",
            *(chart.svg() for chart in _charts(results, colours, target)),
            "</html>",
        ]
    )


def _row(name: str, result: Result, colour: str, bound: float | None, target: float) -> str:
    missed = ' class="missed"' if result.attainment < target else ""
    cells = [
        f"{result.gpu_hours:,.1f}",
        f"{result.gpu_hours / bound:.2f}x" if bound else "",
        f"<span{missed}>{result.attainment:.2%}</span>",
        f"{result.worst_hour:.2%}",
        f"{result.wait_p99_s:.1f} s",
        f"{result.starts_per_hour:.1f}",
        f"{result.usd_per_1k_images:.3f}" if result.usd_per_1k_images else "",
    ]
    swatch = f'<span class="swatch" style="background:{colour}"></span>'
    return f"<tr><td>{swatch}{escape(name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _charts(results: Mapping[str, Result], colours: Mapping[str, str], target: float) -> list[Chart]:
    first = next(iter(results.values()))
    hours = max(first.span_s / HOUR_S, 1e-6)

    def lines(values: Mapping[str, Floats]) -> list[Line]:
        return [Line(name, found, colours[name]) for name, found in values.items()]

    load = Line("work that arrives", first.series.arrived_work_s, "#1b1f24")
    return [
        Chart("Load: work that arrives, in replicas", "", [load], hours),
        Chart(
            "Replicas that are rented: running, starting, draining",
            "",
            lines({name: result.series.rented.astype(float) for name, result in results.items()}),
            hours,
        ),
        Chart(
            "Queue: the most requests that waited",
            "",
            lines({name: result.series.queued.astype(float) for name, result in results.items()}),
            hours,
            peaks=True,
        ),
        Chart(
            f"Requests that met their SLO, by ten minutes (target {target:.0%})",
            "%",
            lines({name: _attainment(result) for name, result in results.items()}),
            hours,
            lowest=80.0,
            highest=100.0,
        ),
        Chart(
            "Cost so far",
            "$",
            lines({name: _spent(result) for name, result in results.items()}),
            hours,
        ),
    ]


def _attainment(result: Result, width_s: float = 600.0) -> Floats:
    window = (result.t_s // width_s).astype(np.int64)
    arrived = np.bincount(window)
    with np.errstate(invalid="ignore"):  # none arrived: not known
        return 100.0 * np.bincount(window, weights=result.met) / arrived


def _spent(result: Result) -> Floats:
    rented = np.cumsum(result.series.rented)
    return result.usd * rented / max(int(rented[-1]), 1)
