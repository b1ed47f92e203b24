"""`vlmfleet keys`."""

from datetime import datetime
from typing import Annotated, Any

import typer

from cli.moment import unix_s
from cli.options import AsJson, Key, Url
from cli.server import Server, given
from cli.table import counts, moment, show, show_one, text, words

PATH = "/v1/admin/keys"
LISTED = [
    text("id"),
    text("name"),
    text("state"),
    text("org"),
    text("project", rank=1),
    words("scopes", rank=3),
    words("models", rank=4),
    counts("limits", rank=5),
    moment("expires_at", rank=2),
]
ALL = [*LISTED, moment("created_at"), moment("revoked_at"), text("rotated_to"), text("root")]

app = typer.Typer(no_args_is_help=True, help="API keys: who may use the fleet, and who may manage it.")

Id = Annotated[str, typer.Argument(metavar="KEY_ID", help="Its public id: key_...")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="inference, usage:read or manage; again for more.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model it may use; again for more.")]
Expires = Annotated[datetime | None, typer.Option(help="When it ends, UTC.")]
Limit = Annotated[int | None, typer.Option(min=1)]


@app.command("list")
def list_keys(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Every key, oldest first."""
    answer = Server(url, key).get(PATH)
    show(LISTED, answer["data"], answer, as_json=as_json)


@app.command("show")
def show_key(key_id: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """All of one key, but for the secret."""
    show_one(ALL, Server(url, key).get(f"{PATH}/{key_id}"), as_json=as_json)


@app.command("create")
def create_key(
    name: str,
    org: Annotated[str | None, typer.Option(help="The organisation that pays. Default: the admin key's.")] = None,
    project: Annotated[str | None, typer.Option(help="The team. Default: default.")] = None,
    scope: Scopes = None,
    model: Models = None,
    requests_per_minute: Limit = None,
    images_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    concurrency: Limit = None,
    expires: Expires = None,
    credit: Annotated[str | None, typer.Option(metavar="USD", help='Free credit for its organisation: "1.50".')] = None,
    ref: Annotated[str | None, typer.Option(help="Any word of yours: with it, a repeat makes no second key.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once."""
    limits = _limits(requests_per_minute, images_per_minute, tokens_per_minute, concurrency)
    fields = given(
        name=name,
        org=org,
        project=project,
        scopes=scope,
        models=model,
        limits=limits,
        expires_at=unix_s(expires),
        credit_usd=credit,
        ref=ref,
    )
    _show_secret(Server(url, key).post(PATH, fields), as_json=as_json)


@app.command("change")
def change_key(
    key_id: Id,
    name: Annotated[str | None, typer.Option()] = None,
    scope: Scopes = None,
    model: Models = None,
    requests_per_minute: Limit = None,
    images_per_minute: Limit = None,
    tokens_per_minute: Limit = None,
    concurrency: Limit = None,
    expires: Expires = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Take away what bounds it: a limit's name, models or expires_at; again for more."),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the rest stays."""
    limits: dict[str, Any] = _limits(requests_per_minute, images_per_minute, tokens_per_minute, concurrency)
    fields = given(name=name, scopes=scope, models=model, expires_at=unix_s(expires))
    for bound in without or ():
        match bound:
            case "models":
                fields["models"] = []
            case "expires_at":
                fields["expires_at"] = None
            case _:
                limits[bound.replace("-", "_")] = None
    changed = Server(url, key).patch(f"{PATH}/{key_id}", fields | {"limits": limits})
    show_one(ALL, changed, as_json=as_json)


@app.command("revoke")
def revoke_key(key_id: Id, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Stop a key, for good."""
    show_one(ALL, Server(url, key).delete(f"{PATH}/{key_id}"), as_json=as_json)


@app.command("rotate")
def rotate_key(
    key_id: Id,
    grace_seconds: Annotated[
        int | None, typer.Option(min=0, help="How long the old key goes on working. Default: a day.")
    ] = None,
    expires: Expires = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Make a key's successor, with its limits and budgets. It is shown this once."""
    fields = given(grace_seconds=grace_seconds, expires_at=unix_s(expires))
    _show_secret(Server(url, key).post(f"{PATH}/{key_id}/rotate", fields), as_json=as_json)


def _limits(
    requests_per_minute: int | None,
    images_per_minute: int | None,
    tokens_per_minute: int | None,
    concurrency: int | None,
) -> dict[str, int]:
    return given(
        requests_per_minute=requests_per_minute,
        images_per_minute=images_per_minute,
        tokens_per_minute=tokens_per_minute,
        concurrency=concurrency,
    )


def _show_secret(made: dict[str, Any], *, as_json: bool) -> None:
    show_one(ALL, made, as_json=as_json)
    if not as_json:
        print(made["key"])
