"""`vlmfleet export`."""

from datetime import datetime
from typing import Annotated

import typer

import exports
from accounting.money import usd
from cli.ledger import Where, reading
from cli.options import AsJson
from cli.table import dollars, number, show, text

DAYS = ["%Y-%m-%d"]


def add_to(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    target: Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.")],
    first: Annotated[datetime, typer.Option("--from", formats=DAYS, help="The first day, UTC.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAYS, help="The last day, UTC; it must be over.")],
    where: Where = None,
    as_json: AsJson = False,
) -> None:
    """Write a ledger's days as CSV and Parquet, with checksums. Days that are there already are compared, and stay."""
    with reading(where) as ledger:
        manifests = exports.export(ledger, exports.open_target(target), first.date(), last.date())
    days = [
        {"day": str(one.day), "entries": one.rows, "parts": len(one.parts), "charged_usd": usd(one.charged_nano)}
        for one in manifests
    ]
    show(
        [text("day"), number("entries"), number("parts"), dollars("charged_usd")], days, {"days": days}, as_json=as_json
    )
