"""`vlmfleet budgets`."""

import sys
from typing import Annotated

import typer

from cli.options import AsJson, Create, Key, Url
from cli.server import Server, given
from cli.table import dollars, moment, show, show_one, text

PATH = "/v1/admin/budgets"
# A budget from before a project's said of which organisation it is, where an operator has to choose.
WHOSE = (
    "{scope} does not say of which organisation the project is, so it bounds all of that name. Set one for each that it is for, as "
    "in: budgets set project:<organisation>/... {period} {limit_usd}; then: budgets drop {scope} {period}"
)
COLUMNS = [
    text("scope"),
    text("period"),
    dollars("limit_usd", rank=1),
    dollars("posted_usd", rank=2),
    dollars("reserved_usd", rank=3),
    dollars("remaining_usd"),
    dollars("alert_usd", rank=4),
    moment("alerted_at", rank=5),
]
DROPPED = [text("scope"), text("period"), text("deleted")]

app = typer.Typer(no_args_is_help=True, help="Budgets: what a key, a project or an organisation may spend in a period.")

Scope = Annotated[str, typer.Argument(help="key:<id>, project:<organisation>/<project> or org:<id>.")]
Period = Annotated[str, typer.Argument(help="day, month or lifetime; UTC.")]


@app.command("list")
def list_budgets(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Every budget, and what is left of it now."""
    answer = Server(url, key).get(PATH)
    show(COLUMNS, answer["data"], answer, as_json=as_json)
    for budget in answer["data"]:
        if budget["shared"]:
            print(WHOSE.format(**budget), file=sys.stderr)


@app.command("set")
def set_budget(
    scope: Scope,
    period: Period,
    limit: Annotated[str, typer.Argument(metavar="USD", help='The most it may spend: "10.50".')],
    alert: Annotated[
        str | None, typer.Option(metavar="USD", help="From this sum on it is told; stops nothing.")
    ] = None,
    create: Create = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make or change a budget; it counts at once."""
    fields = given(limit_usd=limit, alert_usd=alert, create=create)
    show_one(COLUMNS, Server(url, key).put(f"{PATH}/{scope}/{period}", fields), as_json=as_json)


@app.command("drop")
def drop_budget(scope: Scope, period: Period, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Remove a budget: its scope is not bounded by it any more."""
    show_one(DROPPED, Server(url, key).delete(f"{PATH}/{scope}/{period}"), as_json=as_json)
