import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from accounting.sqlite import SqliteStore
from deployments.ledger.client import Address
from deployments.ledger.server import LedgerServer

TOKEN = "a token"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(file: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(file, lambda: 1_000)) as store:
        yield store


@pytest.fixture
def rows(file: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Run a query on the ledger's file over a second connection: it sees what is durable."""

    def run(query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as db:
            return db.execute(query).fetchall()

    return run


@pytest.fixture
async def address(store: SqliteStore) -> AsyncIterator[Address]:
    """Where a server of the store listens."""
    server = LedgerServer(store, TOKEN)
    yield Address("127.0.0.1", await server.start("127.0.0.1"), TOKEN)
    await server.stop()
