"""What only a PostgreSQL server can do, or suffer. What every store does is in `test_store.py`."""

import string
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from random import Random
from threading import Thread
from typing import Any

import psycopg
import pytest

from accounting import postgres
from accounting.budget import Period
from accounting.command import AddKey, Result, SetBudget
from accounting.postgres import TURN, PostgresReader, PostgresStore
from accounting.sql import schema
from accounting.sql.schema import FOLDER, VERSION
from accounting.store import Snapshot, StoreError
from tests.accounting.examples import HOLD, KEY, OPENING, POST, answer, results

Rows = Callable[..., list[tuple[Any, ...]]]

LOST = "terminating connection|server closed the connection|connection is lost"


@pytest.fixture
def store(postgres_ledger_url: str) -> Iterator[PostgresStore]:
    """A store with one price and one organisation that has credit, on the database's own clock."""
    with closing(PostgresStore(postgres_ledger_url)) as store:
        store.apply(OPENING)
        yield store


@pytest.fixture
def rows(postgres_ledger_url: str) -> Iterator[Rows]:
    """Run a statement on the ledger over a second connection, as an administrator could."""
    with psycopg.connect(postgres_ledger_url, autocommit=True) as connection:

        def run(statement: str) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE entry SET amount_nano = 0", "append-only"),
        ("DELETE FROM entry", "append-only"),
        ("TRUNCATE entry", "append-only"),
        ("DELETE FROM hold", "append-only"),
        ("TRUNCATE hold CASCADE", "append-only"),
        ("DELETE FROM attempt", "append-only"),
        ("UPDATE audit SET actor = 'nobody'", "append-only"),
        ("DELETE FROM audit", "append-only"),
        ("UPDATE price SET unit_nano = 0", "a price version is immutable"),
        ("DELETE FROM price", "a price version is immutable"),
        ("UPDATE hold SET state = 'open', charged_nano = NULL", "hold has ended"),
        ("UPDATE hold SET charged_nano = 0", "hold has ended"),
        ("UPDATE account SET reserved_nano = -1", "account_reserved_nano_check"),
        ("UPDATE account SET posted_nano = 1 WHERE id = 'credit:org'", "room"),
    ],
)
def test_history_cannot_be_rewritten(store: PostgresStore, rows: Rows, statement: str, message: str):
    """The database itself refuses, whoever asks."""
    store.apply([HOLD, POST])
    with pytest.raises(psycopg.IntegrityError, match=message):
        rows(statement)


def test_everything_is_there_after_a_restart(store: PostgresStore, postgres_ledger_url: str):
    """A store that opens the database again goes on where the last one stopped."""
    store.apply([HOLD, AddKey(KEY)])
    before = store.balances(), store.keys(), store.generation("r1")
    store.close()
    with closing(PostgresStore(postgres_ledger_url)) as again:
        assert (again.balances(), again.keys(), again.generation("r1")) == before
        assert results(again, HOLD, POST) == [Result.EXISTS, Result.POSTED]


def test_the_clock_is_the_databases(store: PostgresStore, rows: Rows):
    """Gateways and writers may be on machines that disagree."""
    clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    ((before,),) = rows(clock)
    store.apply([HOLD])
    ((after,),) = rows(clock)
    generation = store.generation("r1")
    assert generation
    assert before <= generation.created_at_ms <= after


def test_writers_take_turns(store: PostgresStore, postgres_ledger_url: str):
    """Four stores at once, a budget worth ten of forty requests: just ten are taken, and nothing deadlocks."""
    store.apply(
        [
            SetBudget(scope="org:org", period=Period.LIFETIME, limit_nano=1_000),
            SetBudget(scope="project:org/project", period=Period.DAY, limit_nano=2_000),
        ]
    )

    def spend(writer: int) -> list[Result]:
        with closing(PostgresStore(postgres_ledger_url)) as mine:
            holds = [replace(HOLD, request_id=f"r{writer}.{n}", amount_nano=100) for n in range(10)]
            return [answer(mine, hold).result for hold in holds]

    with ThreadPoolExecutor(4) as pool:
        outcomes = [result for outcome in pool.map(spend, range(4)) for result in outcome]
    assert sorted(outcomes) == [Result.CREATED] * 10 + [Result.NO_ROOM] * 30
    assert store.verify() == []


def test_what_no_index_can_hold_is_refused_for_good(store: PostgresStore, rows: Rows):
    """Such as a hold of before names had bounds: its charge is no failure that is worth another try."""
    store.apply([HOLD, replace(HOLD, request_id="r2")])
    user = "".join(Random(1).choices(string.ascii_letters, k=6_000))  # no secret
    rows(f"UPDATE hold SET user_id = '{user}' WHERE request_id = 'r1'")
    assert results(store, POST, replace(POST, request_id="r2")) == [Result.INVALID, Result.POSTED]
    assert store.verify() == []


def test_a_projects_budget_becomes_its_organisations(postgres_url: str, monkeypatch: pytest.MonkeyPatch):
    """If it can only be one's; any other stays as it is."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", 2)
        PostgresStore(postgres_url).close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO api_key (id, sha256, org_id, project_id, name, scopes, created_at_ms, models, limits, root_id) VALUES"
            " ('1', '1', 'acme', 'scans', '', '[]', 1, '[]', '{}', ''), ('2', '2', 'acme', 'default', '', '[]', 1, '[]', '{}', ''),"
            " ('3', '3', 'rival', 'default', '', '[]', 1, '[]', '{}', '')"
        )
        connection.execute(
            "INSERT INTO budget VALUES ('project:scans', 'day', 9, NULL), ('project:default', 'day', 9, NULL)"
        )
    with closing(PostgresStore(postgres_url)) as store:
        found = [(state.budget.scope, state.account.rpartition(":")[0]) for state in store.budgets()]
    assert found == [("project:acme/scans", "bud:project:scans"), ("project:default", "bud:project:default")]


def test_questions_are_answered_beside_a_transaction(store: PostgresStore):
    """From any thread, from what is committed, and without waiting for the writer's turn to end."""
    seen: list[Snapshot] = []
    with store._transaction() as db:
        db.change("UPDATE account SET posted_nano = -1 WHERE id = 'credit:org'")
        reader = Thread(target=lambda: seen.append(store.snapshot()))
        reader.start()
        reader.join()
    assert seen == [Snapshot(totals=(), holds_open=0, reserved_nano=0)]


def test_programs_that_start_at_once_make_one_ledger(postgres_url: str):
    """The second finds what the first has made."""
    with ThreadPoolExecutor(3) as pool:
        for store in pool.map(PostgresStore, [postgres_url] * 3):
            store.close()
    with psycopg.connect(postgres_url) as connection:
        versions = connection.execute("SELECT version FROM schema_version").fetchall()
    assert versions == [(number,) for number in range(2, VERSION + 1)]


def test_a_newer_schema_is_refused(store: PostgresStore, rows: Rows, postgres_ledger_url: str):
    """An older program does not write into a newer ledger."""
    rows(f"INSERT INTO schema_version VALUES ({VERSION + 1})")
    newer = rf"written by a newer vlmfleet \(schema {VERSION + 1}, here {VERSION}\); upgrade"
    try:
        with pytest.raises(StoreError, match=newer):
            PostgresStore(postgres_ledger_url)
    finally:
        rows(f"DELETE FROM schema_version WHERE version > {VERSION}")
    PostgresStore(postgres_ledger_url).close()


def test_a_connection_lost_between_calls_is_made_anew(store: PostgresStore, rows: Rows):
    """As after a restart of the server: nobody notices."""
    store.snapshot()
    end_other_connections(rows)
    assert results(store, HOLD) == [Result.CREATED]
    assert store.snapshot().holds_open == 1


def test_a_connection_lost_in_a_transaction_undoes_it(store: PostgresStore, rows: Rows):
    """The batch has not happened; sent again, it does."""
    with pytest.raises(StoreError, match=LOST), store._transaction() as db:  # noqa: PT012
        db.change("UPDATE account SET posted_nano = -1 WHERE id = 'credit:org'")
        end_other_connections(rows)
        db.change("UPDATE account SET posted_nano = -2 WHERE id = 'credit:org'")
    assert rows("SELECT posted_nano FROM account WHERE id = 'credit:org'") == [(-10_000,)]
    assert results(store, HOLD, POST) == [Result.CREATED, Result.POSTED]


def test_a_question_that_fails_costs_one_connection(store: PostgresStore, rows: Rows):
    """The next has a new one."""
    with pytest.raises(StoreError, match=LOST), store._reader() as db:  # noqa: PT012
        end_other_connections(rows)
        db.all("SELECT 1")
    assert store.snapshot().holds_open == 0


def test_a_turn_that_does_not_come_is_an_error(
    store: PostgresStore, rows: Rows, postgres_ledger_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Another writer is stuck in its own; when it is over, all is well again."""
    monkeypatch.setitem(postgres.SESSION, "lock_timeout", "20")
    rows(f"SELECT pg_advisory_lock({TURN})")
    with pytest.raises(StoreError, match="canceling statement due to lock timeout"):
        PostgresStore(postgres_ledger_url)
    rows(f"SELECT pg_advisory_unlock({TURN})")
    with closing(PostgresStore(postgres_ledger_url)) as other:
        assert results(other, HOLD) == [Result.CREATED]


def test_a_server_that_only_reads_is_refused_at_the_start(store: PostgresStore, postgres_ledger_url: str):
    """Such as a standby: not by the first payment."""
    url = postgres_ledger_url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
    with pytest.raises(
        StoreError, match=r"cannot execute .* in a read-only transaction; check that it runs and lets us write"
    ):
        PostgresStore(url)
    assert results(store, HOLD) == [Result.CREATED]


def test_a_server_that_may_lose_commits_is_refused(rows: Rows, store: PostgresStore, postgres_ledger_url: str):
    """It says itself whether it waits for the disk."""
    set_fsync(rows, "off")
    try:
        with pytest.raises(StoreError, match=r"fsync is not on; a ledger needs it, so turn it on in postgresql\.conf"):
            PostgresStore(postgres_ledger_url)
    finally:
        set_fsync(rows, "on")
    PostgresStore(postgres_ledger_url).close()


def test_a_server_that_is_not_there_is_named_without_its_password():
    """The message has its host and database."""
    with pytest.raises(StoreError, match=r"postgresql:///nowhere/ledger: PostgreSQL failed: ") as raised:
        PostgresStore("postgresql://ann:secret@/ledger?host=/nowhere")
    assert "secret" not in str(raised.value)


def test_a_url_that_is_none_is_not_repeated():
    """It may have a password in it."""
    with pytest.raises(StoreError, match="it looks like postgresql://user:password@host:5432/database") as raised:
        PostgresStore("postgresql://ann:secret@[::1/ledger")
    assert "secret" not in str(raised.value)


def test_closing_twice_is_safe(store: PostgresStore):
    """The second time does nothing."""
    store.close()
    store.close()


def end_other_connections(rows: Rows) -> None:
    """And wait until they have ended."""
    rows(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


def set_fsync(rows: Rows, value: str) -> None:
    """And wait until the server has heard of it."""
    rows(f"ALTER SYSTEM SET fsync = {value}")
    rows("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while rows("SHOW fsync") != [(value,)]:
        assert time.monotonic() < deadline


def test_a_reader_asks_while_a_writer_has_its_turn(store: PostgresStore, postgres_ledger_url: str):
    with psycopg.connect(postgres_ledger_url) as turn:
        turn.execute("SELECT pg_advisory_xact_lock(%s)", [TURN])
        with closing(PostgresReader(postgres_ledger_url)) as reader:
            assert reader.verify() == []


def test_a_reader_changes_nothing(store: PostgresStore, postgres_ledger_url: str):
    with closing(PostgresReader(postgres_ledger_url)) as reader, pytest.raises(StoreError, match="read only"):
        reader.apply([HOLD])


def test_a_reader_does_not_make_a_ledger_where_there_is_none(postgres_url: str):
    with pytest.raises(StoreError, match="no ledger"):
        PostgresReader(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT to_regclass('schema_version')").fetchone() == (None,)


def test_keys_of_an_older_ledger_are_numbered_in_the_order_in_which_they_were_made(postgres_url: str):
    """So a gateway reads each of them once."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
        connection.execute((FOLDER / "postgres" / "2.sql").read_bytes())
        connection.execute("INSERT INTO schema_version VALUES (2)")
        for name, made_ms in (("key_b", 1), ("key_c", 2), ("key_a", 2)):
            connection.execute(
                "INSERT INTO api_key VALUES (%s, %s, 'org', 'project', 'old', '[]', %s, NULL, NULL, '[]', '{}', '', NULL)",
                [name, name, made_ms],
            )
    with closing(PostgresStore(postgres_url)) as store:
        assert [(change.seq, change.record.id) for change in store.key_changes()] == [
            (1, "key_b"),
            (2, "key_a"),
            (3, "key_c"),
        ]
