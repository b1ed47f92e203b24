import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore


class Clock:
    """A store's clock, in milliseconds; a test moves it."""

    ms = 1_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(file: Path, clock: Clock) -> Iterator[SqliteStore]:
    with closing(SqliteStore(file, clock)) as store:
        yield store


@pytest.fixture(scope="session")
def kept_postgres_url(postgres: Callable[[], str]) -> str:
    """A ledger in PostgreSQL: making one takes longer than most tests."""
    url = postgres()
    PostgresStore(url).close()
    return url


@pytest.fixture
def postgres_ledger_url(kept_postgres_url: str) -> str:
    """The same, with nothing in it."""
    return emptied(kept_postgres_url)


def emptied(url: str) -> str:
    """Remove everything from a ledger, past what guards it."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema AND tablename <> 'schema_version'"
        ).fetchall():
            connection.execute(f"DELETE FROM {table}" + (" WHERE kind <> 'contra'" if table == "account" else ""))
        connection.execute("UPDATE account SET posted_nano = 0")
    return url


@pytest.fixture
def rows(file: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Run a statement on the ledger's file over a second connection, as an administrator could."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            return db.execute(statement).fetchall()

    return run
