"""Ledger lines: their days, and their file."""

from datetime import date

import pytest

from accounting.store import Entry
from exports.entries import NotEntries, day_of, decode, encode, parts_of, start_ms
from tests.exports.books import MONDAY, SUNDAY, TUESDAY, WEDNESDAY


class Lines:
    """A ledger with nothing but lines, given by their days."""

    def __init__(self, *days: date) -> None:
        self._entries = [
            Entry(seq=number, kind="grant", ref=f"g{number}", account="revenue", amount_nano=1, at_ms=start_ms(day))
            for number, day in enumerate(days, 1)
        ]

    def entries(self, after_seq: int, limit: int) -> list[Entry]:
        return [entry for entry in self._entries if entry.seq > after_seq][:limit]


@pytest.mark.parametrize(
    ("days", "after_seq", "parts"),
    [
        ((), 0, []),
        ((TUESDAY,), 0, []),
        ((MONDAY,), 0, [[1]]),
        ((MONDAY, MONDAY, MONDAY), 0, [[1, 2], [3]]),
        ((MONDAY, MONDAY, TUESDAY), 0, [[1, 2]]),
        ((MONDAY, TUESDAY), 0, [[1]]),
        ((SUNDAY, MONDAY, TUESDAY), 1, [[2]]),
        ((MONDAY, SUNDAY, TUESDAY), 0, [[1, 2]]),  # the clock was set back: line 2 is Monday's
        ((TUESDAY, MONDAY, WEDNESDAY), 0, []),  # and here Tuesday's
        ((MONDAY, TUESDAY, MONDAY), 0, [[1]]),  # and here too
    ],
)
def test_a_day_is_the_lines_up_to_the_next(days: tuple[date, ...], after_seq: int, parts: list[list[int]]):
    """In parts of two at most; every line belongs to just one day."""
    cut = parts_of(Lines(*days), MONDAY, after_seq, rows_max=2)  # type: ignore[arg-type]  # it is only asked for lines
    assert [[entry.seq for entry in part] for part in cut] == parts


@pytest.mark.parametrize(
    ("at_ms", "day"), [(start_ms(MONDAY), MONDAY), (start_ms(TUESDAY) - 1, MONDAY), (start_ms(TUESDAY), TUESDAY)]
)
def test_days_begin_at_midnight_utc(at_ms: int, day: date):
    """The first millisecond is the day's own."""
    assert day_of(at_ms) == day


def test_lines_come_back_from_their_file():
    """Every column, with whatever an operator put into a ref."""
    entries = [
        Entry(seq=1, kind="grant", ref='a,"b"\r\nc\r', account="credit:acme", amount_nano=-(2**63), at_ms=0),
        Entry(seq=9, kind="grant", ref="", account="revenue", amount_nano=2**63 - 1, at_ms=1),
    ]
    assert decode(encode(entries)) == entries


@pytest.mark.parametrize("data", [b"", b"\xff", b"seq,kind\r\n1,grant\r\n", encode([]).replace(b"seq", b"no")])
def test_another_file_is_refused(data: bytes):
    """By its header, or by the first row that is no line."""
    with pytest.raises(NotEntries):
        decode(data)
