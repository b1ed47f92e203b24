"""Rebuilding a ledger from its export."""

import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.budget import Period
from accounting.command import AddPrice, Grant, Refund, SetBudget
from accounting.sqlite import SqliteStore
from accounting.store import StoreError
from exports import import_ledger, verify
from exports.entries import day_of
from exports.errors import Damaged
from exports.target import Folder, open_target
from tests.exports.books import (
    FRIDAY,
    MONDAY,
    POST,
    PRICE,
    THURSDAY,
    TUESDAY,
    WEDNESDAY,
    Books,
    Clock,
    posted,
    running_books,
)


def test_every_line_balance_and_price_comes_back(books: Books, folder: Folder, empty: SqliteStore):
    """Lines keep their numbers, and the books are sound."""
    books.export(folder, MONDAY, WEDNESDAY)
    assert import_ledger(folder, empty) == verify(folder)
    assert empty.entries(0, 100) == books.entries()
    assert posted(empty) == books.posted()
    assert empty.prices() == [PRICE]
    assert empty.verify() == []


def test_it_comes_back_from_s3(books: Books, empty: SqliteStore, s3: str):
    """As from a folder."""
    books.export(open_target(s3), MONDAY, WEDNESDAY, part_rows_max=2)
    import_ledger(open_target(s3), empty)
    assert posted(empty) == books.posted()


def test_balances_are_those_of_the_last_day(books: Books, folder: Folder, empty: SqliteStore):
    """What happened since is not in them."""
    before = books.posted()
    books.export(folder, MONDAY, WEDNESDAY)
    books.charge("r4")
    import_ledger(folder, empty)
    assert posted(empty) == before


def test_limits_come_back(books: Books, folder: Folder, empty: SqliteStore):
    """Of the accounts that were used; what was spent under them counts again."""
    books.do(SetBudget(scope="org:acme", period=Period.LIFETIME, limit_nano=10 * POST.charged_nano))
    books.charge("r4")
    books.at(FRIDAY).export(folder, MONDAY, THURSDAY)
    import_ledger(folder, empty)
    limits = {balance.account: (balance.limit_nano, balance.posted_nano) for balance in empty.balances()}
    assert limits["bud:org:acme:lifetime"] == (10 * POST.charged_nano, POST.charged_nano)
    assert limits["credit:acme"][0] == 0


def test_a_limit_that_is_lower_than_its_balance_is_reached_later(books: Books, folder: Folder, empty: SqliteStore):
    """After Thursday a refund made room for a limit that Thursday's balance is above."""
    books.do(SetBudget(scope="org:acme", period=Period.LIFETIME, limit_nano=10 * POST.charged_nano))
    books.charge("r4")
    books.at(FRIDAY).refund("oops", "r4", POST.charged_nano)
    books.do(SetBudget(scope="org:acme", period=Period.LIFETIME, limit_nano=1))
    books.export(folder, MONDAY, THURSDAY)
    import_ledger(folder, empty)
    (budget,) = (balance for balance in empty.balances() if balance.account == "bud:org:acme:lifetime")
    assert (budget.limit_nano, budget.posted_nano) == (POST.charged_nano, POST.charged_nano)


@pytest.mark.parametrize(
    "damaged", ["entries/day=2026-11-17/*", "usage/csv/day=2026-11-17/*", "usage/parquet/*17/*", "manifests/*17.json"]
)
def test_nothing_is_imported_from_a_damaged_export(books: Books, tmp_path: Path, empty: SqliteStore, damaged: str):
    """Not even the days before the damage, whatever is damaged."""
    root = tmp_path / "export"
    books.export(Folder(root), MONDAY, WEDNESDAY)
    (file,) = root.glob(damaged)
    file.write_bytes(file.read_bytes().replace(b"2", b"3"))
    with pytest.raises(Damaged):
        import_ledger(Folder(root), empty)
    assert (empty.entries(0, 100), empty.prices()) == ([], [])


def test_a_ledger_in_use_is_not_imported_into(books: Books, folder: Folder, empty: SqliteStore):
    """One grant is use."""
    books.export(folder, MONDAY, WEDNESDAY)
    empty.apply([Grant(ref="free", account="credit:acme", amount_nano=1)])
    with pytest.raises(StoreError, match="a new one"):
        import_ledger(folder, empty)
    assert posted(empty) == {"credit:acme": -1, "contra:grant": 1}


def test_a_price_that_is_another_here_is_named(books: Books, folder: Folder, empty: SqliteStore):
    """A price version never changes, not even by an import."""
    books.export(folder, MONDAY, WEDNESDAY)
    empty.apply([AddPrice(replace(PRICE, unit_nano=1))])
    with pytest.raises(StoreError, match="version 1 of the price of m"):
        import_ledger(folder, empty)
    assert empty.entries(0, 100) == []


def test_an_imported_ledger_goes_on_with_its_export(books: Books, folder: Folder, tmp_path: Path):
    """The chain continues where the lost ledger left it."""
    books.export(folder, MONDAY, TUESDAY)
    clock = Clock()
    with closing(SqliteStore(tmp_path / "new" / "ledger.db", clock)) as store:
        import_ledger(folder, store)
        heir = Books(store, clock).at(WEDNESDAY)
        heir.do(Grant(ref="more", account="credit:acme", amount_nano=1))
        heir.charge("r4")
        heir.at(THURSDAY).export(folder, MONDAY, WEDNESDAY)
        assert verify(folder)[-1].rows == 4
        assert store.verify() == []


HOURS = st.integers(-3, 60)  # a clock may be set back
AMOUNTS = st.integers(1, 10**12)
REFS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
STEPS = st.one_of(
    st.tuples(st.just("pass"), HOURS),
    st.tuples(st.just("grant"), REFS, AMOUNTS),
    st.tuples(st.just("charge"), st.integers(0, POST.charged_nano)),
    st.tuples(st.just("refund"), REFS, st.integers(1, 9), AMOUNTS),
    st.tuples(st.just("budget"), st.sampled_from(["org:acme", "project:scans"]), st.sampled_from(Period), AMOUNTS),
)


def take(books: Books, number: int, step: tuple) -> None:
    """Refusals are as welcome as anything."""
    match step:
        case ("pass", hours):
            books.clock.ms += hours * 3_600_000
        case ("grant", ref, amount_nano):
            books.do(Grant(ref=ref, account="credit:acme", amount_nano=amount_nano))
        case ("charge", charged_nano):
            books.charge(f"r{number}", charged_nano)
        case ("refund", ref, request, amount_nano):
            books.do(Refund(ref=ref, request_id=f"r{request}", amount_nano=amount_nano, reason=""))
        case ("budget", scope, period, limit_nano):
            books.do(SetBudget(scope=scope, period=period, limit_nano=limit_nano))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=25), st.integers(1, 9), st.integers(0, 5))
def test_p11_an_export_brings_back_every_balance(steps: list[tuple], part_rows_max: int, days_first: int):
    """P11, for any history: in one go or in two, whatever the parts, and the manifests chain without gaps."""
    with tempfile.TemporaryDirectory() as name, running_books(Path(name) / "full") as books:
        books.grant()
        for number, step in enumerate(steps):
            take(books, number, step)
        expected, lines = books.posted(), books.entries()
        last = max(day_of(entry.at_ms) for entry in lines) + timedelta(1)
        middle = min(last, MONDAY + timedelta(days_first))
        books.at(last + timedelta(1)).grant()
        target = Folder(Path(name) / "export")
        books.export(target, MONDAY, middle, part_rows_max)
        books.export(target, middle, last, part_rows_max)
        manifests = verify(target)
        assert [manifest.day for manifest in manifests] == [
            MONDAY + timedelta(n) for n in range((last - MONDAY).days + 1)
        ]
        with closing(SqliteStore(Path(name) / "empty.db", Clock())) as store:
            import_ledger(target, store)
            assert posted(store) == expected
            assert store.entries(0, 1_000_000) == lines
            assert store.verify() == []
