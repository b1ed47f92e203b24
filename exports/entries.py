"""The ledger's lines, cut into days and parts, and written as CSV."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

from accounting.store import Entry
from exports.ledger import Ledger
from exports.table import COUNT, TEXT, Column, from_csv, to_csv

COLUMNS: tuple[Column[Entry], ...] = (
    Column("seq", COUNT, lambda entry: entry.seq),
    Column("kind", TEXT, lambda entry: entry.kind),
    Column("ref", TEXT, lambda entry: entry.ref),
    Column("account", TEXT, lambda entry: entry.account),
    Column("amount_nano", COUNT, lambda entry: entry.amount_nano),
    Column("at_ms", COUNT, lambda entry: entry.at_ms),
)
HEADER = [column.name for column in COLUMNS]


class NotEntries(ValueError):
    """Bytes that `encode` did not write."""


def parts_of(ledger: Ledger, day: date, after_seq: int, rows_max: int) -> Iterator[list[Entry]]:
    """The day's lines after `after_seq`, at most `rows_max` at a time: all up to the first that was booked on a later day."""
    end_ms = start_ms(day + timedelta(days=1))
    while page := ledger.entries(after_seq, rows_max):
        part = list(takewhile(lambda entry: entry.at_ms < end_ms, page))
        if part:
            yield part
        if len(part) < len(page):
            return
        after_seq = page[-1].seq


def encode(entries: list[Entry]) -> bytes:
    return to_csv(COLUMNS, entries)


def decode(data: bytes) -> list[Entry]:
    """The inverse of `encode`. Raises `NotEntries`."""
    try:
        header, *rows = from_csv(data)
        entries = [
            Entry(seq=int(seq), kind=kind, ref=ref, account=account, amount_nano=int(amount_nano), at_ms=int(at_ms))
            for seq, kind, ref, account, amount_nano, at_ms in rows
        ]
    except (ValueError, csv.Error) as error:
        raise NotEntries from error
    if header != HEADER:
        raise NotEntries
    return entries


def start_ms(day: date) -> int:
    """The first millisecond of a day, UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def day_of(at_ms: int) -> date:
    """The day, UTC, that a moment belongs to."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).date()
