"""CSV and Parquet."""

import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exports.table import DECIMAL, TEXT, TIME, Column, from_csv, to_csv, to_parquet

Row = tuple[str | None, Decimal, datetime]

COLUMNS: tuple[Column[Row], ...] = (
    Column("Name", TEXT, lambda row: row[0]),
    Column("Cost", DECIMAL, lambda row: row[1]),
    Column("At", TIME, lambda row: row[2]),
)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS: list[Row] = [("a", Decimal("0.001341000"), NOON), (None, Decimal(-9_223_372_036), NOON)]


def test_csv_has_exact_decimals_and_utc_times():
    """No exponent, no trailing zero; nothing where there is nothing."""
    assert to_csv(COLUMNS, ROWS).decode().split("\r\n") == [
        "Name,Cost,At",
        "a,0.001341,2026-11-20T12:00:00Z",
        ",-9223372036,2026-11-20T12:00:00Z",
        "",
    ]


@pytest.mark.parametrize("cost", ["0", "100", "1E+2", "0.000000001", "-9223372036.854775807"])
def test_csv_never_writes_an_exponent(cost: str):
    """Whatever form a decimal is in."""
    (_, row) = from_csv(to_csv(COLUMNS, [("a", Decimal(cost), NOON)]))
    assert Decimal(row[1]) == Decimal(cost)
    assert "E" not in row[1]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_text_comes_back_from_csv_as_it_was(names: list[str]):
    """Commas, quotes and line endings of any kind included."""
    _, *rows = from_csv(to_csv(COLUMNS, [(name, Decimal(1), NOON) for name in names]))
    assert [row[0] for row in rows] == names


@pytest.mark.parametrize(
    "said", ["=1+1", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://example.com")']
)
def test_text_is_never_a_formula_to_a_spreadsheet(said: str):
    """It is shown as it was; numbers stay numbers."""
    _, row = from_csv(to_csv(COLUMNS, [(said, Decimal(-1), NOON)], for_spreadsheets=True))
    assert row[:2] == [f"'{said}", "-1"]


def test_parquet_has_types():
    """Decimals are exact, times know their zone, what is missing is null."""
    table = pq.read_table(io.BytesIO(to_parquet(COLUMNS, ROWS, {"focus": "1.3"})))
    assert table.schema.types == [TEXT, DECIMAL, TIME]
    assert table.schema.metadata == {b"focus": b"1.3"}
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS


@pytest.mark.parametrize("rows", [[], ROWS, ROWS * 1_000])
def test_the_same_rows_are_the_same_bytes(rows: list[Row]):
    """An export that is repeated writes nothing new."""
    assert to_csv(COLUMNS, rows) == to_csv(COLUMNS, list(rows))
    assert to_parquet(COLUMNS, rows, {}) == to_parquet(COLUMNS, list(rows), {})
