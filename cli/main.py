"""The command `vlmfleet`. Each group of commands is a module."""

import sys

import typer

from accounting.store import StoreError
from cli import (
    budgets,
    calibrate,
    credit,
    doctor,
    export,
    fleet,
    k8s,
    keys,
    ledger,
    price,
    reports,
    scaling,
    simulate,
    status,
)
from cli.failed import Failed
from cli.table import visible
from deployments.launch import LaunchError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="A self-hosted serving cluster for vision-language models, with a price on every answer.",
)
fleet.add_to(app)
status.add_to(app)
app.add_typer(keys.app, name="keys")
app.add_typer(budgets.app, name="budgets")
app.add_typer(credit.app, name="credit")
reports.add_to(app)
price.add_to(app)
calibrate.add_to(app)
simulate.add_to(app)
app.add_typer(scaling.app, name="scaling")
app.add_typer(ledger.app, name="ledger")
export.add_to(app)
doctor.add_to(app)
app.add_typer(k8s.app, name="k8s")


def main() -> None:
    """Run the command line; never returns. Exit status 1: it failed, and standard error says why in one line."""
    try:
        app(prog_name="vlmfleet")
    except (Failed, LaunchError, StoreError) as error:
        print(f"vlmfleet: {visible(str(error))}", file=sys.stderr)
        sys.exit(1)
