import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def rows(file: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """Run a statement on the ledger's file over a second connection, as an administrator could."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            return db.execute(statement).fetchall()

    return run
