import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore
from tests.cli.conftest import Fleet, Vlmfleet
from tests.gateway.house import question


def test_a_live_ledger_is_verified(fleet: Fleet, vlmfleet: Vlmfleet):
    """Beside its writer; by default that of this checkout."""
    fleet.do(fleet.house.ask(question()))
    assert vlmfleet("ledger", "verify").out == "every invariant holds\n"
    assert vlmfleet("ledger", "verify", str(fleet.house.file), "--json").json == {"faults": []}


def test_a_fault_is_named(fleet: Fleet, vlmfleet: Vlmfleet, tmp_path: Path):
    """In a copy, with status 1."""
    fleet.do(fleet.house.ask(question()))
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(fleet.house.file)) as live, closing(sqlite3.connect(copy)) as other:
        live.backup(other)
        other.execute("UPDATE account SET posted_nano = posted_nano + 1 WHERE id = 'revenue'")
        other.commit()
    verified = vlmfleet("ledger", "verify", str(copy))
    assert verified.status == 1
    assert "P2 posted" in verified.out
    assert vlmfleet("ledger", "verify", str(copy), "--json").json["faults"][0]["check"] == "P2 posted"


def test_verifying_writes_nothing(tmp_path: Path, vlmfleet: Vlmfleet):
    """Not even into an old ledger, which is told apart."""
    file = tmp_path / "ledger.db"
    SqliteStore(file, lambda: 0).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 1")
    before = file.read_bytes()
    verified = vlmfleet("ledger", "verify", str(file))
    assert (verified.status, "older vlmfleet" in verified.err) == (1, True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no ledger"),
        (b"not a database, but long enough to be taken for one" * 9, "not a database"),
    ],
)
def test_what_is_no_ledger_is_told_in_one_line(tmp_path: Path, vlmfleet: Vlmfleet, content: bytes | None, says: str):
    """And not made."""
    file = tmp_path / "other.db"
    if content is not None:
        file.write_bytes(content)
    verified = vlmfleet("ledger", "verify", str(file))
    assert (verified.status, says in verified.err, verified.err.count("\n")) == (1, True, 1)
    assert file.exists() is (content is not None)


def test_the_crash_harness_has_its_own_options(vlmfleet: Vlmfleet):
    """They are passed on as they are."""
    helped = vlmfleet("ledger", "torture", "--help")
    assert (helped.status, "--seeds" in helped.out) == (0, True)


def test_a_ledger_in_postgresql_is_verified(postgres_url: str, vlmfleet: Vlmfleet, monkeypatch: pytest.MonkeyPatch):
    """By its URL, or by the variable that the fleet has it from."""
    PostgresStore(postgres_url).close()
    assert vlmfleet("ledger", "verify", postgres_url).out == "every invariant holds\n"
    with closing(psycopg.connect(postgres_url, autocommit=True)) as db:
        db.execute("UPDATE account SET posted_nano = 1 WHERE id = 'revenue'")
    monkeypatch.setenv("VLMFLEET_STORE", postgres_url)
    verified = vlmfleet("ledger", "verify")
    assert (verified.status, "P2 posted" in verified.out) == (1, True)
