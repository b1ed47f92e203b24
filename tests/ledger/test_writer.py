import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounting.key import sha256
from accounting.price import Price
from accounting.sqlite import SqliteStore
from deployments.ledger.writer import (
    FIRST_GRANT_NANO,
    PriceChanged,
    make_first_keys,
    publish,
    publish_late,
    tell_of_shared_budgets,
    write_secret,
)

Rows = Callable[[str], list[tuple[Any, ...]]]

PRICE = Price(model="demo", version=3, unit_nano=1_000, batch_unit_nano=500)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Every permission is given to a new file that does not ask for less."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_prices_are_published_once(store: SqliteStore, rows: Rows):
    """A restart with the same cards changes nothing."""
    publish(store, [PRICE])
    publish(store, [PRICE])
    assert rows("SELECT model, version, unit_nano FROM price") == [("demo", 3, 1_000)]


def test_a_changed_price_is_refused(store: SqliteStore, rows: Rows):
    """The message names the model and the version to raise it to; the stored one stays."""
    publish(store, [PRICE])
    message = r"demo: .*differs from version 3 in the ledger; .* give the card price\.version 4"
    with pytest.raises(PriceChanged, match=message):
        publish(store, [replace(PRICE, unit_nano=999)])
    assert rows("SELECT unit_nano FROM price") == [(1_000,)]


def test_a_new_version_stands_beside_the_old_one(store: SqliteStore, rows: Rows):
    """Old requests keep the price of their admission."""
    publish(store, [PRICE])
    publish(store, [replace(PRICE, version=4, unit_nano=999)])
    assert rows("SELECT version, unit_nano FROM price ORDER BY version") == [(3, 1_000), (4, 999)]


def test_a_running_ledger_outlives_a_changed_price(store: SqliteStore, rows: Rows, caplog: pytest.LogCaptureFixture):
    """It keeps its own, learns the others, and complains; a new start would end it."""
    publish(store, [PRICE])
    publish_late(store, [replace(PRICE, unit_nano=999), replace(PRICE, model="other")])
    assert rows("SELECT model, unit_nano FROM price ORDER BY model") == [("demo", 1_000), ("other", 1_000)]
    assert "give the card price.version 4" in caplog.text


def test_the_first_keys_lie_in_two_files(store: SqliteStore, tmp_path: Path):
    """Only their owner can read them, and only hashes are in the ledger."""
    make_first_keys(store, tmp_path / "state")
    keys = {file.name: file.read_text().strip() for file in (tmp_path / "state").iterdir()}
    assert keys.keys() == {"key", "admin-key"}
    assert {mode(tmp_path / "state" / name) for name in keys} == {0o600}
    records = store.keys()
    assert {record.name: record.sha256 for record in records} == {name: sha256(key) for name, key in keys.items()}
    ledger = b"".join(part.read_bytes() for part in tmp_path.glob("ledger.db*"))
    assert not any(key.encode() in ledger for key in keys.values())


def test_one_of_the_first_keys_uses_and_the_other_manages(store: SqliteStore, tmp_path: Path):
    """A key that manages cannot infer."""
    make_first_keys(store, tmp_path)
    records = store.keys()
    assert {record.name: record.scopes for record in records} == {
        "key": ("inference", "usage:read"),
        "admin-key": ("manage",),
    }


def test_the_first_keys_share_one_grant(store: SqliteStore, tmp_path: Path, rows: Rows):
    """Credit is given to their organisation, once."""
    make_first_keys(store, tmp_path)
    credit = rows("SELECT id, posted_nano FROM account WHERE kind = 'credit'")
    assert credit == [("credit:default", -FIRST_GRANT_NANO)]


def test_first_keys_are_made_once(store: SqliteStore, tmp_path: Path):
    """A restart keeps the keys that people have, even if their files are gone."""
    make_first_keys(store, tmp_path)
    before = store.keys()
    (tmp_path / "key").unlink()
    make_first_keys(store, tmp_path)
    assert store.keys() == before
    assert not (tmp_path / "key").exists()


@pytest.mark.usefixtures("open_umask")
def test_a_secret_is_its_owners_alone(tmp_path: Path):
    """Whatever the umask."""
    write_secret(tmp_path / "new" / "secret", "s3cret")
    assert mode(tmp_path / "new" / "secret") == 0o600
    assert (tmp_path / "new" / "secret").read_text() == "s3cret\n"


def test_a_secret_is_never_written_into_a_readable_file(tmp_path: Path):
    """A file that others may have open is replaced, not reused."""
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    with file.open() as eavesdropper:
        write_secret(file, "s3cret")
        assert eavesdropper.read() == "old"
    assert mode(file) == 0o600


def test_a_secret_does_not_follow_a_link(tmp_path: Path):
    """A link in its place is replaced, and what it named stays untouched."""
    elsewhere, file = tmp_path / "elsewhere", tmp_path / "secret"
    elsewhere.write_text("old")
    file.symlink_to(elsewhere)
    write_secret(file, "s3cret")
    assert elsewhere.read_text() == "old"
    assert not file.is_symlink()


def test_an_interrupted_first_start_makes_the_keys_at_the_next(store: SqliteStore, tmp_path: Path):
    """A key is stored only when its owner has it."""
    (tmp_path / "admin-key").mkdir()
    with pytest.raises(OSError, match="admin-key"):
        make_first_keys(store, tmp_path)
    (tmp_path / "admin-key").rmdir()
    make_first_keys(store, tmp_path)
    assert {sha256((tmp_path / name).read_text().strip()) for name in ("key", "admin-key")} == {
        record.sha256 for record in store.keys()
    }


def test_a_budget_that_does_not_say_whose_it_is_is_told_at_the_start(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
):
    """An upgrade could not know, and it bounds others than was meant."""
    tell_of_shared_budgets(store)
    assert caplog.text == ""
    store._db.execute("INSERT INTO budget (scope, period, limit_nano) VALUES ('project:default', 'month', 1)")
    tell_of_shared_budgets(store)
    assert "project:default bounds the projects of that name in every organisation" in caplog.text
