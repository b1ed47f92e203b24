"""`vlmfleet ledger verify`: a ledger itself, without a gateway."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from accounting.store import Store
from accounting.stores import open_reader
from cli.options import AsJson
from cli.table import sentence, show, text
from deployments.launch import state_folder

FAULTS = [text("check"), sentence("detail")]

Where = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|URL",
        envvar="VLMFLEET_STORE",
        help="A SQLite file or a postgresql:// URL. Default: .vlmfleet/ledger.db",
    ),
]


def verify(where: Where = None, as_json: AsJson = False) -> None:
    """Recompute every invariant of a ledger, live or a copy; nothing is written. Status 1 if one does not hold."""
    with reading(where) as store:
        faults = [asdict(fault) for fault in store.verify()]
    if as_json or faults:
        show(FAULTS, faults, {"faults": faults}, as_json=as_json)
    else:
        print("every invariant holds")
    raise typer.Exit(int(bool(faults)))


@contextmanager
def reading(where: str | None) -> Iterator[Store]:
    """The ledger, to ask it only. Raises `StoreError`."""
    with closing(open_reader(where or str(state_folder() / "ledger.db"), now_ms)) as store:
        yield store


def now_ms() -> int:
    return time.time_ns() // 1_000_000
