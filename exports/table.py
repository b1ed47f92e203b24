"""Rows as bytes, the same bytes for the same rows: CSV and Parquet."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = pa.string()
COUNT = pa.int64()
TIME = pa.timestamp("ms", tz="UTC")
# Nano-dollars have nine decimals. 38 digits is the widest decimal that every reader of Parquet has.
DECIMAL = pa.decimal128(38, 9)

# A cell that begins so is a formula to a spreadsheet, whatever wrote it: OWASP, "CSV Injection".
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """`of` is the column's value in a row: `str`, `int`, `Decimal`, aware `datetime`, or None."""

    name: str
    type: pa.DataType
    of: Callable[[R], Any]


def to_csv(columns: Sequence[Column[R]], rows: Iterable[R], *, for_spreadsheets: bool = False) -> bytes:
    """UTF-8 with a header. Lines end as RFC 4180 says: so fields with either line ending are quoted, and come back whole.

    `for_spreadsheets`: text that a spreadsheet would run as a formula gets an apostrophe before it, which shows it as text.
    """
    written = _inert if for_spreadsheets else _written
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    writer.writerows([written(column.of(row)) for column in columns] for row in rows)
    return text.getvalue().encode()


def to_parquet(columns: Sequence[Column[R]], rows: Sequence[R], metadata: dict[str, str]) -> bytes:
    """The bytes are those of the installed pyarrow: another version may write the same rows differently."""
    schema = pa.schema([(column.name, column.type) for column in columns], metadata=metadata)
    arrays = [pa.array([column.of(row) for row in rows], column.type) for column in columns]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def from_csv(data: bytes) -> list[list[str]]:
    """The rows of `to_csv`, its header first."""
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def _inert(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return _written(value)


def _written(value: object) -> object:
    match value:
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
    return value
