"""Which store an address means."""

from collections.abc import Callable
from pathlib import Path

from accounting.leap import monotonic_ms
from accounting.postgres import PostgresReader, PostgresStore
from accounting.sqlite import SqliteReader, SqliteStore
from accounting.store import Store

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_store(where: str | Path, now_ms: Callable[[], int]) -> Store:
    """Open the ledger at `where`: a `postgresql://` URL, or the path of a SQLite file, made if there is none. `now_ms` is the
    clock of a file; PostgreSQL has its own. Raises `StoreError`.
    """
    if isinstance(where, str) and where.startswith(POSTGRES_SCHEMES):
        return PostgresStore(where, steady_ms=monotonic_ms)
    return SqliteStore(Path(where), now_ms, monotonic_ms)


def open_reader(where: str | Path, now_ms: Callable[[], int]) -> Store:
    """Open a ledger that is there, live or a copy, to ask it only. As `open_store` otherwise."""
    if isinstance(where, str) and where.startswith(POSTGRES_SCHEMES):
        return PostgresReader(where)
    return SqliteReader(Path(where), now_ms)
