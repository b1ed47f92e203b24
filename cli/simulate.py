"""`vlmfleet simulate`: what a policy would have done to a trace. Nothing has to run."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.failed import Failed
from cli.table import Column, number, show, text


class Named(StrEnum):
    """The policies that can be compared."""

    OURS = "ours"
    STATIC = "static"
    SERVE = "serve"
    KPA = "kpa"
    HPA = "hpa"


def simulate(
    trace: Annotated[Path, typer.Argument(help="JSON lines (.gz allowed), one of Azure's CSVs, or ServeGen's folder.")],
    policy: Annotated[Named, typer.Option(help="Who decides how many replicas run.")] = Named.OURS,
    start_s: Annotated[float, typer.Option(min=0, help="From the order of a replica until it serves, median.")] = 120,
    scale: Annotated[float, typer.Option(min=1e-6, help="So many times the requests of the trace.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn: arrivals, sizes, starts.")] = 0,
    gpus: Annotated[int, typer.Option(min=1, help="In the pool.")] = 512,
    replica: Annotated[Path | None, typer.Option(help="A fitted replica model. Default: a 7B on an A100.")] = None,
    bound: Annotated[bool, typer.Option(help="Also the least GPU-hours that anybody could need.")] = True,
    html: Annotated[Path | None, typer.Option(help="Write a report there, with the other policies beside it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Replay a trace against a fleet that a policy scales: SLO attainment over all arrivals, GPU-hours, starts, cost.

    A trace is one request a line: t_s, vision_tokens, text_tokens, output_tokens; model and tenant if there are any.
    Each model has its own fleet.
    """
    try:
        from cli.simulation import Simulation  # noqa: PLC0415  # numba takes a second to load; other commands need none
    except ImportError as error:
        raise Failed(f"the simulator needs {error.name}: pip install 'vlmfleet[simulate]'") from error
    simulation = Simulation(trace, start_s=start_s, scale=scale, seed=seed, gpus=gpus, replica=replica, bound=bound)
    names = [policy.value, *(name.value for name in Named if html and name is not policy)]
    rows = simulation.rows(names)
    if html:
        html.write_text(simulation.page(), encoding="utf-8")
    show(
        COLUMNS,
        map(_shown, _first(rows, policy) if not html else rows),
        {"object": "list", "data": rows},
        as_json=as_json,
    )


COLUMNS: list[Column] = [
    text("trace"),
    text("policy"),
    number("gpu_hours", "GPU-hours"),
    number("ratio", "x bound", rank=2),
    number("attainment", "SLO met"),
    number("worst_hour", rank=3),
    number("wait_p99_s", "p99 TTFT s", rank=1),
    number("starts_per_hour", "starts/h", rank=4),
    number("usd_per_1k_images", "$ per 1k images"),
]


def _first(rows: list[dict[str, Any]], policy: Named) -> Iterable[dict[str, Any]]:
    return (row for row in rows if row["policy"] == policy.value)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    ratio = row["ratio_to_bound"]
    return row | {
        "gpu_hours": f"{row['gpu_hours']:,.1f}",
        "ratio": "" if ratio is None else f"{ratio:.2f}",
        "attainment": f"{row['attainment']:.2%}",
        "worst_hour": f"{row['worst_hour']:.2%}",
        "wait_p99_s": f"{row['wait_p99_s']:.2f}",
        "starts_per_hour": f"{row['starts_per_hour']:.1f}",
        "usd_per_1k_images": f"{row['usd_per_1k_images']:.4f}",
    }
