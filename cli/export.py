"""`vlmfleet export`, and `vlmfleet ledger import`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Annotated

import typer

import exports
from accounting.money import usd
from accounting.stores import open_store
from cli import ledger
from cli.failed import Failed
from cli.options import AsJson
from cli.table import dollars, number, show, text
from exports.errors import ExportError

DAYS = ["%Y-%m-%d"]
COLUMNS = [text("day"), number("entries"), number("parts"), dollars("charged_usd")]

Place = Annotated[str, typer.Argument(help="A folder, or s3://bucket/prefix.")]


def export(
    target: Place,
    first: Annotated[datetime, typer.Option("--from", formats=DAYS, help="The first day, UTC.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAYS, help="The last day, UTC; it must be over.")],
    where: ledger.Where = None,
    as_json: AsJson = False,
) -> None:
    """Write a ledger's days as CSV and Parquet, with checksums. Days that are there already are compared, and stay."""
    with told(), ledger.reading(where) as store:
        manifests = exports.export(store, exports.open_target(target), first.date(), last.date())
    days = [
        {"day": str(one.day), "entries": one.rows, "parts": len(one.parts), "charged_usd": usd(one.charged_nano)}
        for one in manifests
    ]
    show(COLUMNS, days, {"days": days}, as_json=as_json)


def import_(
    source: Place,
    where: Annotated[str, typer.Argument(metavar="FILE|URL", help="A ledger that is not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Rebuild every balance from an export."""
    with told(), closing(open_store(where, ledger.now_ms)) as store:
        manifests = exports.import_ledger(exports.open_target(source), store)
    days = [{"day": str(one.day), "entries": one.rows} for one in manifests]
    show(COLUMNS[:2], days, {"days": days}, as_json=as_json)


@contextmanager
def told() -> Iterator[None]:
    """Errors of the package `exports` become ours."""
    try:
        yield
    except ExportError as error:
        raise Failed(str(error)) from error
