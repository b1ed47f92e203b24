"""`vlmfleet credit`."""

from typing import Annotated

import typer

from cli.options import AsJson, Create, Key, Url
from cli.server import Server
from cli.table import dollars, show, show_one, text

BALANCE = [
    text("account"),
    text("kind", rank=4),
    dollars("limit_usd", rank=2),
    dollars("posted_usd", rank=1),
    dollars("reserved_usd", rank=3),
    dollars("remaining_usd"),
]
GRANTED = [text("result"), text("ref"), text("org"), dollars("amount_usd"), text("reason")]
REFUNDED = [text("result"), text("ref"), text("request_id"), dollars("amount_usd"), text("reason")]

app = typer.Typer(no_args_is_help=True, help="Credit: given, given back, and what is left.")

Amount = Annotated[str, typer.Argument(metavar="USD", help='Dollars, at most 9 decimals: "2.50".')]
Ref = Annotated[str, typer.Option(help="Any word of yours: sent twice with it, it is booked once.")]
Reason = Annotated[str, typer.Option(help="Is kept in the audit log.")]


@app.command("grant")
def grant(
    org: str,
    amount: Amount,
    ref: Ref,
    reason: Reason,
    create: Create = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Give an organisation credit."""
    fields = {"org": org, "amount_usd": amount, "ref": ref, "reason": reason, "create": create}
    show_one(GRANTED, Server(url, key).post("/v1/admin/credits", fields), as_json=as_json)


@app.command("refund")
def refund(
    request_id: str, amount: Amount, ref: Ref, reason: Reason, url: Url = None, key: Key = None, as_json: AsJson = False
) -> None:
    """Give back part or all of what a request was charged."""
    fields = {"request_id": request_id, "amount_usd": amount, "ref": ref, "reason": reason}
    show_one(REFUNDED, Server(url, key).post("/v1/admin/refunds", fields), as_json=as_json)


@app.command("balances")
def balances(url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Every account. What is posted was used: negative for credit that was given and is left."""
    answer = Server(url, key).get("/v1/admin/balances")
    show(BALANCE, answer["data"], answer, as_json=as_json)
