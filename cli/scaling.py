"""`vlmfleet scaling`."""

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

import typer

from cli.moment import unix_s
from cli.options import AsJson, Key, Url
from cli.server import Server, given
from cli.table import moment, number, sentence, show, text

PATH = "/v1/admin/scaling"
# Of rows, of which there is one a minute: hours, and as many as one answer may have.
LOOKED_AT = 1000
CHANGES = ("want", "granted", "replicas", "running", "starting")
WHY = (number("want"), number("granted", rank=1), number("replicas"), sentence("words", "why"))
STATUS = [text("model"), moment("at", "at", rank=2), *WHY]
ROWS = [moment("at", "at"), *WHY]
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
    show(STATUS, answer["data"], answer, as_json=as_json)


@app.command("explain")
def explain(
    model: Annotated[str, typer.Argument(help="Its served name.")],
    at: Annotated[datetime | None, typer.Option(help="UTC: the decisions until then. Default: now.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 10,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What changed, the newest first, each with its reason, below the latest decision; and the last starts by stage.

    As JSON: every row, changes and those of each minute.
    """
    rows = limit if as_json else LOOKED_AT
    answer = Server(url, key).get(PATH, given(model=model, at=unix_s(at), limit=rows))
    show(ROWS, without_repeats(answer["data"])[:limit], answer, as_json=as_json)
    if answer["starts"] and not as_json:
        show(STARTS, answer["starts"], answer, as_json=False)


def without_repeats(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The latest decision, and of those before it the ones by which something changed. The newest first, as `rows` are."""
    changed = [any(row[name] != before[name] for name in CHANGES) for row, before in pairwise(rows)]
    first_known = [True] * bool(rows)
    return [row for row, is_shown in zip(rows, [*changed, *first_known], strict=True) if is_shown or row is rows[0]]
