"""A command as `--help` lists it: a name and a line. Its module is imported when it is asked for."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command


class Listed(TyperCommand):
    """`place`: a function, or a `typer.Typer` of several commands, as in `cli.keys:app`. `line`: what the list says."""

    def __init__(self, name: str, place: str, line: str) -> None:
        super().__init__(name, help=line)
        self.place = place

    def make_context(self, *given: Any, **more: Any) -> Any:
        """That of the command itself, which then runs in this one's stead."""
        return self.command().make_context(*given, **more)

    def command(self) -> Any:
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return get_command(found)
        app = typer.Typer(add_completion=False)
        app.command()(found)
        return get_command(app)
