import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounting.command import AddKey, AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.sqlite import SqliteStore
from accounting.store import Snapshot, StoreError, Total

Rows = Callable[..., list[tuple[Any, ...]]]

PRICE = Price("m", 1, unit_nano=1_000, batch_unit_nano=500, basis='{"source": "a test"}')
CREDIT_NANO = 10_000
TRIED = Attempt("replica_1", "stop", 2, 64, 2_392, 0, 150, ttft_ms=80, latency_ms=900)
HOLD = Hold("r1", "gw_1", "key_1", "m", 1, "default", (1, 3), 0, ("credit:org",), 4_000, "sha", expires_in_ms=60_000)
POST = Post("r1", attempt=1, charged_nano=3_000, outcome=Outcome.COMPLETE, record=TRIED)
VOID = Void("r1", attempt=1, outcome=Outcome.ENGINE_FAILED, record=TRIED)
KEY = KeyRecord("key_1", "0" * 64, "org", "project", "laptop", ("inference", "usage:read"), expires_at_ms=9_000)

ACCOUNTS = "SELECT id, posted_nano, reserved_nano FROM account WHERE kind = 'credit'"
EVERYTHING = (
    "SELECT * FROM hold",
    "SELECT * FROM entry",
    "SELECT * FROM account",
    "SELECT * FROM attempt",
    "SELECT * FROM price",
    "SELECT * FROM api_key",
)


@pytest.fixture
def store(store: SqliteStore) -> SqliteStore:
    """A store with one price and one organisation that has credit."""
    store.apply([AddPrice(PRICE), Grant("free", "credit:org", CREDIT_NANO)])
    return store


def test_a_hold_reserves_its_amount(store: SqliteStore, rows: Rows):
    """What is held is no longer free, but nothing is charged yet."""
    assert store.apply([HOLD]) == [Result.CREATED]
    assert rows(ACCOUNTS) == [("credit:org", -10_000, 4_000)]
    assert rows("SELECT kind FROM entry") == [("grant",), ("grant",)]


@pytest.mark.parametrize(
    ("amount_nano", "result"),
    [
        (0, Result.CREATED),
        (10_000, Result.CREATED),  # -10,000 + 10,000 <= 0
        (10_001, Result.NO_ROOM),  # -10,000 + 10,001 > 0
    ],
)
def test_credit_is_spent_to_the_last_nano_dollar(store: SqliteStore, amount_nano: int, result: Result):
    """A hold fits if the account's limit is kept; the limit itself is within."""
    assert store.apply([replace(HOLD, amount_nano=amount_nano)]) == [result]


def test_what_is_reserved_counts_against_the_limit(store: SqliteStore, rows: Rows):
    """A refused hold leaves those before and after it in the batch untouched."""
    batch = [replace(HOLD, request_id=f"r{amount}", amount_nano=amount) for amount in (6_000, 4_001, 4_000)]
    assert store.apply(batch) == [Result.CREATED, Result.NO_ROOM, Result.CREATED]
    assert rows("SELECT request_id FROM hold ORDER BY rowid") == [("r6000",), ("r4000",)]
    assert rows(ACCOUNTS) == [("credit:org", -10_000, 10_000)]


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"accounts": ("credit:org", "credit:nobody")}, Result.NO_SUCH_ACCOUNT),
        ({"model": "unpriced"}, Result.NO_SUCH_PRICE),
        ({"price_version": 2}, Result.NO_SUCH_PRICE),
        ({"amount_nano": 10_001}, Result.NO_ROOM),
    ],
)
def test_a_refused_hold_leaves_nothing_behind(store: SqliteStore, rows: Rows, change: dict[str, Any], result: Result):
    """No row and no reservation, not even in the accounts that had room."""
    before = [rows(query) for query in EVERYTHING]
    assert store.apply([replace(HOLD, **change)]) == [result]
    assert [rows(query) for query in EVERYTHING] == before


def test_a_hold_needs_room_in_each_account(store: SqliteStore, rows: Rows):
    """All accounts reserve, or none does."""
    store.apply([Grant("small", "credit:small", 3_999)])
    assert store.apply([replace(HOLD, accounts=("credit:org", "credit:small"))]) == [Result.NO_ROOM]
    assert rows(ACCOUNTS) == [("credit:org", -10_000, 0), ("credit:small", -3_999, 0)]


@pytest.mark.parametrize("change", [{"gateway_id": "gw_2"}, {"body_sha": "other"}, {"amount_nano": 1}])
def test_a_request_id_is_used_once(store: SqliteStore, change: dict[str, Any]):
    """Another request under the same id is named, and reserves nothing."""
    results = store.apply([HOLD, replace(HOLD, **change)])
    assert results == [Result.CREATED, Result.EXISTS_WITH_DIFFERENT_CONTENT]
    assert store.snapshot().reserved_nano == 4_000


def test_a_post_charges_and_releases_the_rest(store: SqliteStore, rows: Rows):
    """The charge is booked against revenue; the hold is gone."""
    assert store.apply([HOLD, POST]) == [Result.CREATED, Result.POSTED]
    assert rows("SELECT account_id, amount_nano FROM entry WHERE kind = 'charge' AND ref = 'r1'") == [
        ("credit:org", 3_000),
        ("revenue", -3_000),
    ]
    assert rows(ACCOUNTS) == [("credit:org", -7_000, 0)]


def test_a_post_charges_every_account_of_its_hold(store: SqliteStore, rows: Rows):
    """Revenue balances all of them."""
    store.apply([Grant("b", "credit:b", 4_000), replace(HOLD, accounts=("credit:org", "credit:b")), POST])
    assert rows(ACCOUNTS) == [("credit:org", -7_000, 0), ("credit:b", -1_000, 0)]
    assert rows("SELECT posted_nano FROM account WHERE id = 'revenue'") == [(-6_000,)]  # -3,000 * 2


def test_a_charge_of_nothing_books_nothing(store: SqliteStore, rows: Rows):
    """The ledger has no lines of zero."""
    assert store.apply([HOLD, replace(POST, charged_nano=0)]) == [Result.CREATED, Result.POSTED]
    assert rows("SELECT count(*) FROM entry WHERE kind = 'charge'") == [(0,)]


def test_a_charge_above_the_hold_is_refused(store: SqliteStore):
    """The hold stays open, and a charge of all of it is taken."""
    results = store.apply([HOLD, replace(POST, charged_nano=4_001), replace(POST, charged_nano=4_000)])
    assert results == [Result.CREATED, Result.ABOVE_THE_HOLD, Result.POSTED]


def test_a_void_releases_everything(store: SqliteStore, rows: Rows):
    """Nothing is charged, and what was tried is recorded all the same."""
    assert store.apply([HOLD, VOID]) == [Result.CREATED, Result.VOIDED]
    assert rows(ACCOUNTS) == [("credit:org", -10_000, 0)]
    assert rows("SELECT replica_id, charged FROM attempt") == [("replica_1", 0)]


@pytest.mark.parametrize(
    ("first", "then", "result"),
    [
        (POST, POST, Result.ALREADY_POSTED),
        (POST, replace(POST, charged_nano=1), Result.ALREADY_POSTED),
        (POST, VOID, Result.ALREADY_POSTED),
        (VOID, VOID, Result.ALREADY_VOID),
        (VOID, POST, Result.ALREADY_VOID),
        (POST, HOLD, Result.EXISTS),
        (VOID, HOLD, Result.EXISTS),
        (HOLD, HOLD, Result.EXISTS),
        (HOLD, replace(POST, attempt=2), Result.NOT_THE_CURRENT_ATTEMPT),
        (HOLD, replace(VOID, attempt=2), Result.NOT_THE_CURRENT_ATTEMPT),
        (HOLD, replace(POST, request_id="r2"), Result.NO_SUCH_HOLD),
        (HOLD, replace(VOID, request_id="r2"), Result.NO_SUCH_HOLD),
        (Grant("g", "credit:org", 5), Grant("g", "credit:org", 5), Result.EXISTS),
        (Grant("g", "credit:org", 5), Grant("g", "credit:new", 5), Result.EXISTS),
        (AddKey(KEY), AddKey(KEY), Result.EXISTS),
        (HOLD, AddPrice(PRICE), Result.EXISTS),
        (HOLD, AddPrice(replace(PRICE, unit_nano=999)), Result.EXISTS_WITH_DIFFERENT_CONTENT),
        (HOLD, AddPrice(replace(PRICE, basis="{}")), Result.EXISTS_WITH_DIFFERENT_CONTENT),
    ],
)
def test_what_has_taken_effect_answers_so(
    store: SqliteStore, rows: Rows, first: Command, then: Command, result: Result
):
    """A command that comes again, or too late, has its own answer and changes nothing."""
    store.apply([HOLD, first])
    before = [rows(query) for query in EVERYTHING]
    assert store.apply([then]) == [result]
    assert [rows(query) for query in EVERYTHING] == before


def test_a_sweep_voids_what_nobody_settled(store: SqliteStore, rows: Rows, clock: Any):
    """A hold lives until its time is over by the store's clock; a post that comes later charges nothing."""
    store.apply([HOLD])  # at 1,000 for 60,000
    clock.ms = 60_999
    assert store.sweep() == 0
    clock.ms = 61_000
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert rows("SELECT state, why, closed_at_ms FROM hold") == [("void", "expired", 61_000)]
    assert store.apply([POST]) == [Result.ALREADY_VOID]
    assert rows(ACCOUNTS) == [("credit:org", -10_000, 0)]


def test_a_grant_gives_credit(store: SqliteStore, rows: Rows):
    """It makes its account if there is none, and its other side is a contra account."""
    assert store.apply([Grant("gift", "credit:new", 500)]) == [Result.CREATED]
    assert rows("SELECT account_id, amount_nano FROM entry WHERE ref = 'gift'") == [
        ("credit:new", -500),
        ("contra:grant", 500),
    ]
    assert rows("SELECT kind, limit_nano, posted_nano FROM account WHERE id = 'credit:new'") == [("credit", 0, -500)]


def test_keys_are_kept_as_they_are(store: SqliteStore):
    """A key's record comes back equal, scopes and times included."""
    store.apply([AddKey(KEY)])
    assert store.keys() == [KEY]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE entry SET amount_nano = 0", "append-only"),
        ("DELETE FROM entry", "append-only"),
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


def test_a_usage_row(store: SqliteStore, clock: Any, file: Path):
    """One row a request that ended says who, what and how much."""
    store.apply([HOLD])
    clock.ms = 2_000
    store.apply([POST])
    with closing(sqlite3.connect(file)) as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute("SELECT * FROM usage").fetchall()
    assert dict(row) == {
        "request_id": "r1",
        "user_id": None,
        "metadata": None,
        "key_id": "key_1",
        "model": "m",
        "tier": "default",
        "price_version": 1,
        "units": '{"images": [1, 3], "output": 0}',
        "images": 2,
        "text_tokens": 64,
        "vision_tokens": 2_392,
        "cached_tokens": 0,
        "output_tokens": 150,
        "hold_nano": 4_000,
        "charged_nano": 3_000,
        "ttft_ms": 80,
        "latency_ms": 900,
        "replica_id": "replica_1",
        "finish": "stop",
        "outcome": "complete",
        "created_at_ms": 1_000,
        "closed_at_ms": 2_000,
    }


def test_usage_has_a_row_for_what_was_never_measured(store: SqliteStore, rows: Rows, clock: Any):
    """An open hold has none; an expired one is free and has no measures."""
    usage = "SELECT outcome, charged_nano, output_tokens, replica_id FROM usage"
    store.apply([HOLD])
    assert rows(usage) == []
    clock.ms += HOLD.expires_in_ms
    store.sweep()
    assert rows(usage) == [("expired", 0, None, None)]


def test_a_snapshot_sums_what_ended_and_what_is_open(store: SqliteStore, clock: Any):
    """Totals are by model and outcome; an expired hold counts as a request without work."""
    held = [replace(HOLD, request_id=f"r{i}", amount_nano=1_000) for i in range(6)]
    store.apply([*held[:4], *(replace(POST, request_id=f"r{i}", charged_nano=900 + i) for i in (0, 1))])
    store.apply([replace(VOID, request_id="r2")])
    clock.ms += HOLD.expires_in_ms
    store.sweep()  # r3
    store.apply(held[4:])
    assert store.snapshot() == Snapshot(
        (
            # requests, images, vision, text and output tokens, charged
            Total("m", "complete", 2, 4, 4_784, 128, 300, 1_801),  # 900 + 901
            Total("m", "engine_failed", 1, 2, 2_392, 64, 150, 0),
            Total("m", "expired", 1, 0, 0, 0, 0, 0),
        ),
        holds_open=2,
        reserved_nano=2_000,
    )


def test_everything_is_there_after_a_restart(store: SqliteStore, rows: Rows, file: Path, clock: Any):
    """What was answered is on disk: a store that opens the file again goes on where the last one stopped."""
    store.apply([HOLD, AddKey(KEY)])
    before = [rows(query) for query in EVERYTHING]
    store.close()
    with closing(SqliteStore(file, clock)) as again:
        assert [rows(query) for query in EVERYTHING] == before
        assert again.apply([HOLD, POST]) == [Result.EXISTS, Result.POSTED]


def test_a_full_disk_undoes_the_whole_batch(store: SqliteStore, rows: Rows):
    """A transaction that cannot be made durable has not happened, and the store works on once there is room."""
    before = [rows(query) for query in EVERYTHING]
    batch = [HOLD, replace(HOLD, request_id="r2", body_sha="x" * 100_000)]
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's own full disk: the file may not grow
    with pytest.raises(StoreError, match="database or disk is full; check its disk"):
        store.apply(batch)
    assert [rows(query) for query in EVERYTHING] == before
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.apply(batch) == [Result.CREATED, Result.CREATED]


def test_a_ledger_has_one_writer(store: SqliteStore, file: Path, clock: Any):
    """A second one is refused while the first is open, whatever it wants to do."""
    with pytest.raises(StoreError, match="another process writes this ledger"):
        SqliteStore(file, clock)
    store.close()
    SqliteStore(file, clock).close()


def test_closing_twice_is_safe(store: SqliteStore):
    """The second time does nothing."""
    store.close()
    store.close()


def test_a_newer_schema_is_refused(store: SqliteStore, rows: Rows, file: Path, clock: Any):
    """An older program does not write into a newer ledger, and does not keep it locked."""
    store.close()
    rows("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match=r"ledger\.db: written by a newer vlmfleet \(schema 2, here 1\); upgrade"):
        SqliteStore(file, clock)
    rows("PRAGMA user_version = 1")
    SqliteStore(file, clock).close()


def test_a_file_that_is_no_ledger_is_named(file: Path, clock: Any):
    """The message names the file and what to look at."""
    file.write_bytes(b"not SQLite" * 1_000)
    with pytest.raises(StoreError, match=r"ledger\.db: .*file is not a database; check its disk"):
        SqliteStore(file, clock)
