"""The options that many commands have."""

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="VLMFLEET_URL", help="The fleet. Default: this machine's, by VLMFLEET_PORT."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="VLMFLEET_ADMIN_KEY",
        show_envvar=True,
        help="The admin key. Others on this machine can see it here, so better use the variable. "
        "Default: the file .vlmfleet/admin-key.",
    ),
]
Create = Annotated[
    bool, typer.Option("--create", help="The organisation or project is new: nothing is known of it yet.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the fleet answers, as JSON.")]
