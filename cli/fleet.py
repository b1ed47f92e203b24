"""`vlmfleet run`, `up`, `down`: this machine's own fleet."""

import typer

from deployments import launch


def run() -> None:
    """Start everything on this machine, in the foreground; Ctrl-C stops all of it."""
    raise typer.Exit(launch.run())


def up() -> None:
    """The same in the background; returns when the first answer can be had."""
    launch.up()


def down() -> None:
    """Stop it."""
    launch.down()
