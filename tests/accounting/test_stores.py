from pathlib import Path

import pytest

from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore
from accounting.stores import open_store
from tests.accounting.conftest import Clock


@pytest.mark.parametrize("scheme", ["postgresql://", "postgres://"])
def test_a_url_is_a_server(postgres_ledger_url: str, clock: Clock, scheme: str):
    """Its clock is its own."""
    store = open_store(postgres_ledger_url.replace("postgresql://", scheme), clock)
    assert isinstance(store, PostgresStore)
    store.close()


def test_a_path_is_a_file(file: Path, clock: Clock):
    """Made if there is none."""
    for where in (file, str(file)):
        store = open_store(where, clock)
        assert isinstance(store, SqliteStore)
        store.close()
    assert file.exists()
