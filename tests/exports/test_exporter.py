"""Exporting closed days."""

import csv
import io
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from accounting.budget import Period
from accounting.command import SetBudget
from accounting.memory import MemoryStore
from accounting.postgres import PostgresStore
from exports.entries import decode
from exports.errors import Damaged, Differs, Gap, NotClosed
from exports.manifest import Manifest, key_of
from exports.target import Folder, Target, open_target
from tests.exports.books import (
    FRIDAY,
    MONDAY,
    POST,
    PRICE,
    SUNDAY,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    Books,
    Clock,
    opened,
    running_books,
    until_thursday,
)

PARTS = ("entries/", "usage/csv/", "usage/parquet/")
DAYS = (MONDAY, TUESDAY, WEDNESDAY, THURSDAY)


class Killed(BaseException):
    """What ends an export here."""


class KilledAtWrite:
    """A target whose user does not live to see its n-th write."""

    def __init__(self, target: Target, n: int) -> None:
        self._target = target
        self._left = n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def write(self, key: str, data: bytes) -> None:
        self._left -= 1
        if self._left < 0:
            raise Killed
        self._target.write(key, data)


def content(target: Target) -> dict[str, bytes]:
    """Every object that can belong to the days of these tests."""
    folders = [f"{part}day={day}/" for part in PARTS for day in DAYS]
    keys = [key for prefix in ("manifests/", *folders) for key in target.keys(prefix)]
    return {key: target.read(key) or b"" for key in keys}


def read(target: Target, key: str) -> bytes:
    data = target.read(key)
    assert data is not None
    return data


def test_a_day_has_three_files_a_part_and_a_manifest(books: Books, folder: Folder):
    """Named by day and range of lines."""
    books.export(folder, MONDAY, MONDAY)
    assert list(content(folder)) == [
        "manifests/2026-11-16.json",
        "entries/day=2026-11-16/000000000001-000000000004.csv",
        "usage/csv/day=2026-11-16/000000000001-000000000004.csv",
        "usage/parquet/day=2026-11-16/000000000001-000000000004.parquet",
    ]


def test_every_line_is_exported_once(books: Books, folder: Folder):
    """In order, whatever the parts."""
    manifests = books.export(folder, MONDAY, WEDNESDAY, part_rows_max=3)
    parts = [part for manifest in manifests for part in manifest.parts]
    assert [entry for part in parts for entry in decode(read(folder, part.entries.key))] == books.entries()
    assert [part.entries.rows for part in parts] == [3, 1, 3, 1]


def test_a_manifest_says_what_is_in_its_day(books: Books, folder: Folder):
    """Rows, sums, the range of lines, the accounts they touch, the prices."""
    books.refund("oops", "r1")  # on Thursday
    monday, tuesday, wednesday, thursday = books.at(FRIDAY).export(folder, MONDAY, THURSDAY)
    assert [manifest.rows for manifest in (monday, tuesday, wednesday, thursday)] == [4, 4, 0, 2]
    assert [(manifest.after_seq, manifest.last_seq) for manifest in (tuesday, wednesday, thursday)] == [
        (4, 8),
        (8, 8),
        (8, 10),
    ]
    assert tuesday.charged_nano == 2 * POST.charged_nano
    assert thursday.charged_nano == -PRICE.unit_nano
    assert [account.id for account in monday.accounts] == ["contra:grant", "credit:acme", "revenue"]
    assert [account.id for account in tuesday.accounts] == ["credit:acme", "revenue"]
    assert wednesday.parts == ()
    assert tuesday.prices == (PRICE,)
    for item in (item for part in tuesday.parts for item in part.items):
        assert (item.rows, item.amount_nano) == ((4, 0) if "entries" in item.key else (2, 2 * POST.charged_nano))


def test_csv_and_parquet_have_the_same_rows(books: Books, folder: Folder):
    """What is billed is the sum of what was charged."""
    books.export(folder, MONDAY, WEDNESDAY)
    span = "day=2026-11-17/000000000005-000000000008"
    from_csv = list(csv.DictReader(io.StringIO(read(folder, f"usage/csv/{span}.csv").decode(), newline="")))
    from_parquet = pq.read_table(io.BytesIO(read(folder, f"usage/parquet/{span}.parquet"))).to_pylist()
    assert [row["ResourceId"] for row in from_csv] == [row["ResourceId"] for row in from_parquet] == ["r2", "r3"]
    assert from_csv[0].keys() == from_parquet[0].keys()
    assert [row["BilledCost"] for row in from_csv] == ["0.006705", "0.006705"]
    assert sum(row["BilledCost"] for row in from_parquet) * 10**9 == 2 * POST.charged_nano


def test_exporting_again_changes_nothing(books: Books, folder: Folder):
    """Same range, same keys, same bytes: also with other parts, and after limits and prices have changed."""
    first = books.export(folder, MONDAY, TUESDAY)
    before = content(folder)
    books.grant()
    books.do(SetBudget(scope="org:acme", period=Period.LIFETIME, limit_nano=10**12))
    assert books.export(folder, MONDAY, TUESDAY, part_rows_max=1) == first
    assert content(folder) == before


def test_two_places_get_the_same_bytes(books: Books, folder: Folder, s3: str):
    """A folder, and S3."""
    books.export(folder, MONDAY, WEDNESDAY, part_rows_max=3)
    books.export(open_target(s3), MONDAY, WEDNESDAY, part_rows_max=3)
    assert content(open_target(s3)) == content(folder)


@pytest.mark.parametrize("kind", ["memory", "postgresql"])
def test_every_store_exports_the_same(
    books: Books, folder: Folder, tmp_path: Path, kind: str, request: pytest.FixtureRequest
):
    """To the byte: the same commands at the same times are the same export."""
    clock = Clock()
    other = MemoryStore(clock) if kind == "memory" else PostgresStore(request.getfixturevalue("postgres_url"), clock)
    with closing(other):
        elsewhere = until_thursday(opened(other, clock))
        for ledger, target in ((books, folder), (elsewhere, Folder(tmp_path / "other"))):
            ledger.refund("oops", "r1")
            ledger.at(FRIDAY).export(target, MONDAY, THURSDAY)
    assert content(Folder(tmp_path / "other")) == content(folder)


@pytest.mark.parametrize("n", range(9))
def test_a_killed_export_is_repeated(books: Books, folder: Folder, n: int):
    """At whichever of its writes it died; a day without its manifest was not exported."""
    with pytest.raises(Killed):
        books.export(KilledAtWrite(folder, n), MONDAY, WEDNESDAY)
    assert len(folder.keys("manifests/")) == (n >= 4) + (n >= 8)
    books.export(folder, MONDAY, WEDNESDAY)
    assert len(content(folder)) == 9


def test_today_is_not_exported(books: Books, folder: Folder):
    """It may get more lines."""
    with pytest.raises(NotClosed, match="2026-11-18"):
        books.export(folder, MONDAY, THURSDAY)
    assert content(folder) == {}


@pytest.mark.parametrize(
    ("exported", "first", "message"),
    [
        (None, TUESDAY, "export from 2026-11-16 on"),
        ((MONDAY, MONDAY), WEDNESDAY, "go on with 2026-11-17"),
        ((MONDAY, MONDAY), SUNDAY, "go on with 2026-11-17"),
    ],
)
def test_days_follow_one_another(
    books: Books, folder: Folder, exported: tuple[date, date] | None, first: date, message: str
):
    """No line may be left out, and the chain has one beginning."""
    if exported:
        books.export(folder, *exported)
    before = content(folder)
    with pytest.raises(Gap, match=message):
        books.export(folder, first, WEDNESDAY)
    assert content(folder) == before


def test_days_before_the_ledger_are_empty(books: Books, folder: Folder):
    """An export may begin before there was anything."""
    sunday, monday = books.export(folder, SUNDAY, MONDAY)
    assert (sunday.rows, monday.rows) == (0, 4)


def test_a_different_object_is_named_and_stays(books: Books, folder: Folder):
    """Whatever was there before a day's manifest."""
    key = "usage/csv/day=2026-11-16/000000000001-000000000004.csv"
    folder.write(key, b"mine")
    with pytest.raises(Differs, match=key):
        books.export(folder, MONDAY, MONDAY)
    assert folder.read(key) == b"mine"
    assert folder.keys("manifests/") == []


@pytest.mark.parametrize("prefix", PARTS)
def test_repeating_an_export_checks_what_is_there(books: Books, folder: Folder, prefix: str):
    """An object that was changed since is named."""
    books.export(folder, MONDAY, MONDAY)
    (key,) = folder.keys(f"{prefix}day={MONDAY}/")
    folder.write(key, b"changed")
    with pytest.raises(Damaged, match=key):
        books.export(folder, MONDAY, TUESDAY)


def test_repeating_an_export_checks_the_chain(books: Books, tmp_path: Path):
    """A day does not begin it because the one before was lost."""
    books.export(Folder(tmp_path), MONDAY, TUESDAY)
    (tmp_path / key_of(MONDAY)).unlink()
    with pytest.raises(Damaged, match=key_of(TUESDAY)):
        books.export(Folder(tmp_path), TUESDAY, WEDNESDAY)


@pytest.mark.parametrize("first", [MONDAY, TUESDAY])
def test_another_ledger_is_not_mixed_in(books: Books, folder: Folder, tmp_path: Path, first: date):
    """Neither over its days, nor after them."""
    books.export(folder, MONDAY, MONDAY)
    with running_books(tmp_path / "other") as other:
        other.grant(1)
        other.at(TUESDAY).grant(2)
        with pytest.raises(Differs, match="day=2026-11-16"):
            other.at(THURSDAY).export(folder, first, TUESDAY)


def test_a_clock_that_was_set_back_loses_no_line(books: Books, folder: Folder):
    """What is booked on a day that was exported belongs to the next."""
    books.export(folder, MONDAY, TUESDAY)
    books.at(MONDAY, 20).charge("late")
    books.at(THURSDAY)
    books.export(folder, MONDAY, TUESDAY)
    (wednesday,) = books.export(folder, WEDNESDAY, WEDNESDAY)
    assert (wednesday.rows, wednesday.charged_nano) == (2, POST.charged_nano)


def test_manifests_chain(books: Books, folder: Folder):
    """Also over exports of a day each."""
    one_by_one: list[Manifest] = []
    for number in range(3):
        one_by_one += books.export(folder, MONDAY + timedelta(number), MONDAY + timedelta(number))
    assert [manifest.day for manifest in one_by_one] == list(DAYS[:3])
    assert one_by_one[0].previous_sha256 is None
    assert len({manifest.previous_sha256 for manifest in one_by_one}) == 3
    assert folder.keys("manifests/") == [key_of(day) for day in DAYS[:3]]
