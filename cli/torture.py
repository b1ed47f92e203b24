"""`vlmfleet ledger torture`."""

import typer

from torture import main

app = typer.Typer(add_completion=False)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def torture(context: typer.Context) -> None:
    """Kill a fleet of its own at every failpoint, and audit its ledger; --help shows the options."""
    raise typer.Exit(main(context.args))
