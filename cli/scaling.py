"""`vlmfleet scaling`."""

from datetime import datetime
from typing import Annotated

import typer

from cli.moment import unix_s
from cli.options import AsJson, Key, Url
from cli.server import Server, given
from cli.table import moment, number, show, text

PATH = "/v1/admin/scaling"
ROWS = [
    moment("at", "at"),
    number("want"),
    number("granted"),
    number("replicas"),
    text("words", "why"),
]
STARTS = [
    moment("at", "ready at"),
    number("total_s", "start s"),
    number("environment_s", "environment s"),
    number("weights_s", "weights s"),
    number("ready_s", "engine s"),
]

app = typer.Typer(no_args_is_help=True, help="How many replicas each model has, and why.")


@app.command("status")
def status(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """The latest decision of each model."""
    answer = Server(url, key).get(PATH)
    show([text("model"), *ROWS], answer["data"], answer, as_json=as_json)


@app.command("explain")
def explain(
    model: Annotated[str, typer.Argument(help="Its served name.")],
    at: Annotated[datetime | None, typer.Option(help="UTC: the decisions until then. Default: now.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 10,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """A model's decisions, the newest first, each with its reason; and how long its last starts took, by stage."""
    answer = Server(url, key).get(PATH, given(model=model, at=unix_s(at), limit=limit))
    show(ROWS, answer["data"], answer, as_json=as_json)
    if answer["starts"] and not as_json:
        show(STARTS, answer["starts"], answer, as_json=False)
