"""What only a SQLite file can do, or suffer. What every store does is in `test_store.py`."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from accounting import sqlite
from accounting.budget import Period
from accounting.command import AddKey, DropBudget, Grant, Result, SetBudget
from accounting.sql import schema
from accounting.sql.questions import TAKEOVERS
from accounting.sql.schema import FOLDER, VERSION
from accounting.sqlite import SqliteStore
from accounting.store import Balance, Snapshot, StoreError, Total
from accounting.usage import Bucket, UsageQuery, Width
from tests.accounting.examples import HOLD, KEY, OPENING, POST, results

Rows = Callable[..., list[tuple[Any, ...]]]

NOBODY = 65_534

# A ledger of version 1: 10,000 given; one request posted at 3,000 of 4,000, one void, one open at 2,000.
VERSION_1 = f"""
BEGIN; {(FOLDER / "sqlite" / "1.sql").read_text(encoding="utf-8")} PRAGMA user_version = 1; COMMIT;
INSERT INTO price VALUES ('m', 1, 1000, 1000, 500, 0, 0, '{{}}');
INSERT INTO api_key VALUES ('key_1', 'sha', 'org', 'team', 'laptop', '["inference"]', 1000, NULL, NULL);
INSERT INTO account (id, kind, limit_nano) VALUES ('credit:org', 'credit', 0);
INSERT INTO hold VALUES
  ('r1', 1, 'gw', 'key_1', 'm', 1, 'default', '{{"images": [1, 3], "output": 0}}', '["credit:org"]', 4000, NULL, 'open', NULL,
   'sha', 'ann', NULL, 3599999, 3659999, NULL),
  ('r2', 1, 'gw', 'key_1', 'm', 1, 'default', '{{"images": [1], "output": 0}}', '["credit:org"]', 1000, NULL, 'open', NULL,
   'sha', NULL, NULL, 3600000, 3660000, NULL),
  ('r3', 1, 'gw', 'key_1', 'm', 1, 'default', '{{"images": [1], "output": 1}}', '["credit:org"]', 2000, NULL, 'open', NULL,
   'sha', NULL, NULL, 3600000, 3660000, NULL);
UPDATE hold SET state = 'posted', charged_nano = 3000, why = 'complete', closed_at_ms = 3600500 WHERE request_id = 'r1';
UPDATE hold SET state = 'void', why = 'engine_failed', closed_at_ms = 3600500 WHERE request_id = 'r2';
INSERT INTO attempt VALUES
  ('r1', 1, 'replica_1', 'stop', 2, 64, 2392, 10, 150, 80, 900, 1), ('r2', 1, 'replica_1', NULL, 1, 9, 1196, 0, 5, 80, 90, 0);
INSERT INTO entry (kind, ref, account_id, amount_nano, at_ms) VALUES
  ('grant', 'free', 'credit:org', -10000, 1000), ('grant', 'free', 'contra:grant', 10000, 1000),
  ('charge', 'r1', 'credit:org', 3000, 3600500), ('charge', 'r1', 'revenue', -3000, 3600500);
UPDATE account SET posted_nano = -7000, reserved_nano = 2000 WHERE id = 'credit:org';
UPDATE account SET posted_nano = 10000 WHERE id = 'contra:grant';
UPDATE account SET posted_nano = -3000 WHERE id = 'revenue';
"""


@pytest.fixture
def store(store: SqliteStore) -> SqliteStore:
    """A store with one price and one organisation that has credit."""
    store.apply(OPENING)
    return store


@pytest.fixture
def old_file(file: Path) -> Path:
    """A ledger that version 1 has left behind."""
    with closing(sqlite3.connect(file)) as db:
        db.executescript(VERSION_1)
    return file


@contextmanager
def as_nobody() -> Iterator[None]:
    """File modes mean nothing to root, so become somebody for whom they do."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(folder: Path) -> None:
    """Let nobody write a test's folder and all its files, and get there."""
    for parent in folder.parents[:2]:
        parent.chmod(0o755)
    folder.chmod(0o777)
    for path in folder.iterdir():
        path.chmod(0o666)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE entry SET amount_nano = 0", "append-only"),
        ("DELETE FROM entry", "append-only"),
        (
            "INSERT INTO entry (kind, ref, account_id, amount_nano, at_ms) SELECT kind, ref, account_id, 1, 1 FROM entry",
            "UNIQUE",
        ),
        ("DELETE FROM hold", "append-only"),
        ("DELETE FROM attempt", "append-only"),
        ("UPDATE audit SET actor = 'nobody'", "append-only"),
        ("DELETE FROM audit", "append-only"),
        ("UPDATE price SET unit_nano = 0", "a price version is immutable"),
        ("DELETE FROM price", "a price version is immutable"),
        ("UPDATE hold SET state = 'open', charged_nano = NULL", "hold has ended"),
        ("UPDATE hold SET charged_nano = 0", "hold has ended"),
        ("UPDATE account SET reserved_nano = -1", "reserved_nano >= 0"),
        ("UPDATE account SET posted_nano = 1 WHERE id = 'credit:org'", "room"),
    ],
)
def test_history_cannot_be_rewritten(store: SqliteStore, rows: Rows, statement: str, message: str):
    """The file itself refuses, whoever asks."""
    store.apply([HOLD, POST])
    with pytest.raises(sqlite3.IntegrityError, match=message):
        rows(statement)


def test_everything_is_there_after_a_restart(store: SqliteStore, file: Path, clock: Any):
    """What was answered is on disk: a store that opens the file again goes on where the last one stopped."""
    store.apply([HOLD, AddKey(KEY)])
    before = store.balances(), store.keys(), store.generation("r1")
    store.close()
    with closing(SqliteStore(file, clock)) as again:
        assert (again.balances(), again.keys(), again.generation("r1")) == before
        assert results(again, HOLD, POST) == [Result.EXISTS, Result.POSTED]


def test_questions_are_answered_beside_a_transaction(store: SqliteStore):
    """From any thread, from what is committed, and without waiting for the writer."""
    seen: list[Snapshot] = []
    with store._transaction() as db:
        db.change("UPDATE account SET posted_nano = -1 WHERE id = 'credit:org'")
        reader = Thread(target=lambda: seen.append(store.snapshot()))
        reader.start()
        reader.join()
    assert seen == [Snapshot(totals=(), holds_open=0, reserved_nano=0)]


def test_a_full_disk_undoes_the_whole_batch(store: SqliteStore, rows: Rows):
    """A transaction that cannot be made durable has not happened, and the store works on once there is room."""
    before = rows("SELECT * FROM account"), rows("SELECT * FROM hold")
    batch = [HOLD, replace(HOLD, request_id="r2", metadata="x" * 100_000)]
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's own full disk: the file may not grow
    with pytest.raises(StoreError, match="database or disk is full; check its disk"):
        store.apply(batch)
    assert (rows("SELECT * FROM account"), rows("SELECT * FROM hold")) == before
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert results(store, *batch) == [Result.CREATED, Result.CREATED]


def test_a_disk_that_becomes_read_only_undoes_the_whole_batch(store: SqliteStore, rows: Rows):
    """What SQLite answers when it may not write is the store's error; nothing is done, and later all of it is."""
    store._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="attempt to write a readonly database; check its disk"):
        store.apply([HOLD, POST])
    assert rows("SELECT * FROM hold") == []
    store._db.execute("PRAGMA query_only = OFF")
    assert results(store, HOLD, POST) == [Result.CREATED, Result.POSTED]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, clock: Any):
    """No ledger is made, and no half of one; with write permission it is."""
    open_to_all(tmp_path)
    tmp_path.chmod(0o555)
    with as_nobody(), pytest.raises(StoreError, match=r"ledger\.db: .*Permission denied; check its disk"):
        SqliteStore(tmp_path / "ledger.db", clock)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o777)
    with as_nobody():
        SqliteStore(tmp_path / "ledger.db", clock).close()


def test_a_file_that_cannot_be_written_is_found_at_the_start(store: SqliteStore, file: Path, clock: Any):
    """Not by the first payment."""
    store.close()
    open_to_all(file.parent)
    file.chmod(0o444)
    with as_nobody(), pytest.raises(StoreError, match=r"ledger\.db: .*readonly database; check its disk"):
        SqliteStore(file, clock)
    open_to_all(file.parent)
    with as_nobody(), closing(SqliteStore(file, clock)) as again:
        assert results(again, HOLD) == [Result.CREATED]


def test_durability_that_is_not_honoured_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Any):
    """SQLite says which journal it really uses; in memory it has no write-ahead log."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="WAL with synchronous=FULL was not honoured; put the ledger on a local disk"):
        SqliteStore(Path(":memory:"), clock)


def test_a_synchronous_that_is_not_honoured_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch, clock: Any):
    """SQLite is asked what it does, not only told."""

    class Deaf(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(statement.replace("synchronous = 2", "synchronous = 1"), *parameters)

    monkeypatch.setattr(
        sqlite, "sqlite3", SimpleNamespace(**vars(sqlite3) | {"connect": partial(sqlite3.connect, factory=Deaf)})
    )
    with pytest.raises(StoreError, match="WAL with synchronous=FULL was not honoured"):
        SqliteStore(file, clock)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO entry SELECT * FROM entry LIMIT 1",
        "INSERT OR REPLACE INTO hold SELECT * FROM hold",
        "REPLACE INTO attempt SELECT * FROM attempt",
        "REPLACE INTO price SELECT * FROM price",
    ],
)
def test_the_writer_itself_cannot_replace_what_was_written(store: SqliteStore, statement: str):
    """REPLACE deletes, and what may not be deleted may not be replaced."""
    store.apply([HOLD, POST])
    with pytest.raises(sqlite3.IntegrityError):
        store._db.execute(statement)


def test_what_is_asked_every_second_reads_open_holds_only(store: SqliteStore):
    """However many have ended."""
    ((*_, plan),) = store._db.execute(f"EXPLAIN QUERY PLAN {TAKEOVERS}").fetchall()
    assert plan == "SCAN hold USING INDEX hold_open"


def test_a_leap_of_the_clock_ends_no_hold(file: Path, clock: Any):
    """What is open when a clock is set forward has all of its time left; what is opened later, too."""
    steady_ms = 0
    with closing(SqliteStore(file, clock, lambda: steady_ms)) as store:
        store.apply([*OPENING, HOLD])
        assert store.sweep() == 0
        clock.ms += 3_600_000
        assert store.sweep() == 0
        clock.ms, steady_ms = clock.ms + 59_999, 59_999
        assert store.sweep() == 0
        clock.ms, steady_ms = clock.ms + 1, 60_000
        assert store.sweep() == 1


def test_a_leap_is_made_up_for_when_a_sweep_failed(file: Path, clock: Any):
    """Nothing of a sweep that fails has happened, so the next one sees the leap."""
    with closing(SqliteStore(file, clock, lambda: 0)) as store:
        store.apply([*OPENING, HOLD])
        store.sweep()
        clock.ms += 3_600_000
        store._db.execute("PRAGMA query_only = ON")
        with pytest.raises(StoreError):
            store.sweep()
        store._db.execute("PRAGMA query_only = OFF")
        assert store.sweep() == 0


def test_a_ledger_has_one_writer(store: SqliteStore, file: Path, clock: Any):
    """A second one is refused while the first is open, whatever it wants to do; the first is not disturbed."""
    with pytest.raises(StoreError, match="another process writes this ledger"):
        SqliteStore(file, clock)
    assert results(store, HOLD) == [Result.CREATED]
    store.close()
    SqliteStore(file, clock).close()


def test_closing_twice_is_safe(store: SqliteStore):
    """The second time does nothing."""
    store.close()
    store.close()


def test_a_newer_schema_is_refused(store: SqliteStore, rows: Rows, file: Path, clock: Any):
    """An older program does not write into a newer ledger, and does not keep it locked."""
    store.close()
    rows(f"PRAGMA user_version = {VERSION + 1}")
    newer = rf"ledger\.db: written by a newer vlmfleet \(schema {VERSION + 1}, here {VERSION}\); upgrade"
    with pytest.raises(StoreError, match=newer):
        SqliteStore(file, clock)
    rows(f"PRAGMA user_version = {VERSION}")
    SqliteStore(file, clock).close()


def test_a_file_that_is_no_ledger_is_named(file: Path, clock: Any):
    """The message names the file and what to look at."""
    file.write_bytes(b"not SQLite" * 1_000)
    with pytest.raises(StoreError, match=r"ledger\.db: .*file is not a database; check its disk"):
        SqliteStore(file, clock)


def test_a_ledger_of_version_1_is_brought_up_to_date(old_file: Path, clock: Any):
    """Balances stay, and totals and rollups are what version 2 would have written itself."""
    clock.ms = 3_600_600
    with closing(SqliteStore(old_file, clock)) as store:
        assert store.verify() == []
        assert store.balances() == [
            Balance(account="contra:budget", kind="contra", limit_nano=None, posted_nano=0, reserved_nano=0),
            Balance(account="contra:grant", kind="contra", limit_nano=None, posted_nano=10_000, reserved_nano=0),
            Balance(account="credit:org", kind="credit", limit_nano=0, posted_nano=-7_000, reserved_nano=2_000),
            Balance(account="revenue", kind="contra", limit_nano=None, posted_nano=-3_000, reserved_nano=0),
        ]
        assert store.snapshot() == Snapshot(
            totals=(
                Total(
                    model="m",
                    outcome="complete",
                    requests=1,
                    images=2,
                    vision_tokens=2_392,
                    text_tokens=64,
                    output_tokens=150,
                    charged_nano=3_000,
                ),
                Total(
                    model="m",
                    outcome="engine_failed",
                    requests=1,
                    images=1,
                    vision_tokens=1_196,
                    text_tokens=9,
                    output_tokens=5,
                    charged_nano=0,
                ),
            ),
            holds_open=1,
            reserved_nano=2_000,
        )
        by_caller = UsageQuery(
            width=Width.HOUR, from_ms=0, to_ms=7_200_000, group_by=("org_id", "project_id", "key_id", "user_id")
        )
        assert store.usage(by_caller) == [
            Bucket(
                start_ms=0,
                group=("org", "team", "key_1", "ann"),
                requests=1,
                images=2,
                units=4,
                text_tokens=64,
                vision_tokens=2_392,
                cached_tokens=10,
                output_tokens=150,
                revenue_nano=3_000,
            )
        ]


PROJECT_BUDGETS = """
INSERT INTO api_key VALUES
  ('key_1', 's1', 'acme', 'scans', 'a', '[]', 1, NULL, NULL, '[]', '{}', '', NULL),
  ('key_2', 's2', 'acme', 'scans', 'b', '[]', 1, NULL, 2, '[]', '{}', '', NULL),
  ('key_3', 's3', 'acme', 'default', 'c', '[]', 1, NULL, NULL, '[]', '{}', '', NULL),
  ('key_4', 's4', 'rival', 'default', 'd', '[]', 1, NULL, NULL, '[]', '{}', '', NULL);
INSERT INTO budget VALUES
  ('project:scans', 'month', 5000, 4000), ('project:default', 'month', 5000, NULL), ('project:typo', 'day', 5000, NULL),
  ('org:acme', 'day', 9000, NULL);
INSERT INTO account (id, kind, limit_nano) VALUES
  ('bud:project:scans:1970-01', 'budget', 5000), ('bud:project:default:1970-01', 'budget', 5000);
"""


@pytest.fixture
def file_of_version_2(file: Path, rows: Rows, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger that version 2 has left behind, with budgets of projects that do not say of which organisation."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", 2)
        patch.setattr(sqlite, "VERSION", 2)
        SqliteStore(file, clock).close()
    for statement in PROJECT_BUDGETS.split(";\n"):
        rows(statement)
    return file


def test_a_projects_budget_becomes_its_organisations(file_of_version_2: Path, clock: Any):
    """With its accounts, and so with all that was spent of it; a key that was revoked counts as its organisation's, too."""
    with closing(SqliteStore(file_of_version_2, clock)) as store:
        store.apply([*OPENING, Grant(ref="g", account="credit:acme", amount_nano=10_000)])
        hold = replace(HOLD, org_id="acme", project_id="scans")
        second = replace(hold, request_id="r2", amount_nano=2_001)
        assert results(store, hold, POST, second) == [Result.CREATED, Result.POSTED, Result.NO_ROOM]
        state = next(state for state in store.budgets() if state.budget.scope == "project:acme/scans")
        assert (state.account, state.posted_nano) == ("bud:project:scans:1970-01", 3_000)
        assert results(store, SetBudget(scope="project:acme/scans", period=Period.MONTH, limit_nano=6_000), second) == [
            Result.CHANGED,
            Result.CREATED,
        ]
        assert store.verify() == []


def test_a_projects_budget_that_may_be_two_organisations_bounds_both(file_of_version_2: Path, clock: Any):
    """As before the upgrade, until an operator has said whose it is: nothing is without a bound meanwhile."""
    with closing(SqliteStore(file_of_version_2, clock)) as store:
        scopes = [state.budget.scope for state in store.budgets()]
        assert scopes == ["org:acme", "project:acme/scans", "project:default", "project:typo"]
        store.apply(
            [
                *OPENING,
                Grant(ref="a", account="credit:acme", amount_nano=10_000),
                Grant(ref="b", account="credit:rival", amount_nano=10_000),
            ]
        )
        holds = [
            replace(HOLD, request_id=org_id, org_id=org_id, project_id="default", amount_nano=3_000)
            for org_id in ("acme", "rival")
        ]
        assert results(store, *holds) == [Result.CREATED, Result.NO_ROOM]
        chosen = (
            SetBudget(scope="project:acme/default", period=Period.MONTH, limit_nano=5_000),
            DropBudget("project:default", Period.MONTH),
        )
        assert results(store, *chosen, holds[1]) == [Result.CREATED, Result.CHANGED, Result.CREATED]


def test_an_open_hold_of_version_1_is_settled_by_version_2(old_file: Path, clock: Any):
    """It is charged to the organisation of its key."""
    clock.ms = 3_600_600
    with closing(SqliteStore(old_file, clock)) as store:
        assert results(store, replace(POST, request_id="r3", charged_nano=2_000)) == [Result.POSTED]
        assert store.verify() == []
        by_project = UsageQuery(width=Width.DAY, from_ms=0, to_ms=86_400_000, group_by=("project_id",))
        assert [(bucket.group, bucket.revenue_nano) for bucket in store.usage(by_project)] == [(("team",), 5_000)]


def test_a_migration_that_fails_leaves_the_old_version(old_file: Path, rows: Rows, clock: Any):
    """Not one table of the new version is there; without the obstacle it goes through."""
    rows("CREATE TABLE refund (mine INTEGER)")  # made last by version 2
    with pytest.raises(StoreError, match="table refund already exists"):
        SqliteStore(old_file, clock)
    assert rows("PRAGMA user_version") == [(1,)]
    assert rows("SELECT name FROM sqlite_schema WHERE name IN ('budget', 'rollup', 'hold_retry')") == []
    rows("DROP TABLE refund")
    SqliteStore(old_file, clock).close()


@pytest.mark.parametrize("before", [None, 0o644])
def test_the_ledger_is_its_owners(tmp_path: Path, before: int | None):
    """Every file of it, whatever the umask, and whatever an earlier version made of it: it holds answers."""
    file = tmp_path / "ledger.db"
    umask = os.umask(0)
    try:
        if before is not None:
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA user_version = 0")
                file.chmod(before)
                with closing(SqliteStore(file, lambda: 0)):
                    modes = modes_of(tmp_path)
        else:
            with closing(SqliteStore(file, lambda: 0)):
                modes = modes_of(tmp_path)
    finally:
        os.umask(umask)
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def modes_of(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
