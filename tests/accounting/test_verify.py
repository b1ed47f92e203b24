"""`Store.verify` finds what no command could have done: somebody was at the database itself."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from accounting.budget import Period
from accounting.command import Refund, SetBudget
from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore
from accounting.store import Store
from tests.accounting.conftest import Clock
from tests.accounting.examples import HOLD, OPENING, POST, VOID

Tamper = Callable[[str], None]

# One request posted at 3,000, of which 1,000 was refunded; one void; one open at 4,000; a budget that counts all of them.
LIFE = (
    *OPENING,
    SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=9_000),
    HOLD,
    POST,
    replace(HOLD, request_id="r2", amount_nano=2_000),
    replace(VOID, request_id="r2"),
    replace(HOLD, request_id="r3"),
    Refund(ref="back", request_id="r1", amount_nano=1_000, reason="blurred"),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def tampered(request: pytest.FixtureRequest, clock: Clock) -> Iterator[tuple[Store, Tamper]]:
    """A ledger, and a way past everything that guards it."""
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("file")
        store: Store = SqliteStore(file, clock)
        tamper: Tamper = lambda statement: past_sqlite(file, statement)  # noqa: E731
    else:
        url: str = request.getfixturevalue("postgres_url")
        store = PostgresStore(url, clock)
        tamper = lambda statement: past_postgres(url, statement)  # noqa: E731
    with closing(store):
        store.apply(LIFE)
        yield store, tamper


def past_sqlite(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)


def past_postgres(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("ALTER TABLE account DROP CONSTRAINT room")
        connection.execute("ALTER TABLE hold DROP CONSTRAINT within_the_hold")
        connection.execute(statement)


def test_an_honest_ledger_has_no_faults(tampered: tuple[Store, Tamper]):
    """Whatever has happened to it."""
    store, _ = tampered
    assert store.verify() == []


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        ("DELETE FROM entry WHERE ref = 'r1' AND account_id = 'credit:org'", {"P1 zero sum", "P2 posted"}),
        ("DELETE FROM entry WHERE ref = 'r1'", {"P2 posted", "P4 charge"}),
        ("UPDATE entry SET ref = 'r3' WHERE ref = 'r1'", {"P4 charge"}),
        ("UPDATE entry SET amount_nano = amount_nano * 2 WHERE ref = 'r1'", {"P2 posted", "P4 charge"}),
        ("UPDATE account SET posted_nano = posted_nano - 1 WHERE id = 'credit:org'", {"P2 posted"}),
        ("UPDATE account SET reserved_nano = reserved_nano - 1 WHERE id = 'credit:org'", {"P2 reserved"}),
        ("UPDATE account SET limit_nano = -8001 WHERE id = 'credit:org'", {"P3 limit"}),
        ("UPDATE hold SET state = 'void', charged_nano = NULL WHERE request_id = 'r3'", {"P2 reserved", "P10 totals"}),
        (
            "UPDATE hold SET charged_nano = 4001 WHERE request_id = 'r1'",
            {"P4 charge", "P7 hold", "P10 rollups", "P10 totals"},
        ),
        ("UPDATE attempt SET charged = 0 WHERE request_id = 'r1'", {"R2 attempts"}),
        ("UPDATE attempt SET charged = 1 WHERE request_id = 'r2'", {"R2 attempts"}),
        ("UPDATE rollup SET revenue_nano = revenue_nano + 1 WHERE width = '1h'", {"P10 rollups"}),
        ("UPDATE rollup SET key_id = 'key_9' WHERE width = '1d'", {"P10 rollups"}),
        ("DELETE FROM rollup WHERE width = '1m'", {"P10 rollups"}),
        ("UPDATE total SET requests = requests + 1 WHERE outcome = 'complete'", {"P10 totals"}),
        ("UPDATE refund SET amount_nano = 3001", {"P4 refund", "P7 refund"}),
        ("UPDATE refund SET amount_nano = 999", {"P4 refund"}),
    ],
)
def test_every_break_is_found(tampered: tuple[Store, Tamper], statement: str, checks: set[str]):
    """By the name of the invariant that it breaks."""
    store, tamper = tampered
    tamper(statement)
    assert {fault.check for fault in store.verify()} == checks
