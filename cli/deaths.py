"""`vlmfleet torture`."""

import typer

from torture.deaths.command import main

app = typer.Typer(add_completion=False)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def torture(context: typer.Context) -> None:
    """Kill everything in a fleet of its own, alone and in pairs, and see it come back; --help shows the options."""
    raise typer.Exit(main(context.args))
