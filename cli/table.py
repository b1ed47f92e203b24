"""What is shown: a table for people, or the answer itself for programs.

No word, date or number is ever broken. A table that is too wide leaves out its least important columns and says which; one that
is too wide still shows its objects one below the other, a field a line.
"""

import json
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any, Literal, Self

from rich.box import HEAVY_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.moment import shown

# A line's end, and the joiner of emoji and of some scripts.
KEPT = frozenset("\n\u200c\u200d")
# A sentence in fewer columns is hard to read.
SENTENCE_MIN = 24
# Where nobody looks through a terminal: enough for every column of every table.
PIPE_WIDTH = 400
# Of each column: a space on both sides, and a line. There is one line more than there are columns.
FRAME = 3


@dataclass(frozen=True, slots=True)
class Column:
    """How one field of an object is shown.

    `whole`: in one line. `narrowest`: what lines that may be wrapped need at least. `rank`: of columns that have one, the highest
    is left out first where there is no room.
    """

    heading: str
    field: str
    form: Callable[[Any], str] = str
    justify: Literal["left", "right"] = "left"
    whole: bool = False
    narrowest: int = 0
    rank: int = 0


def text(field: str, heading: str | None = None, *, rank: int = 0) -> Column:
    return Column(heading or field.replace("_", " "), field, rank=rank)


def sentence(field: str, heading: str | None = None, *, rank: int = 0) -> Column:
    return Column(heading or field.replace("_", " "), field, narrowest=SENTENCE_MIN, rank=rank)


def number(field: str, heading: str | None = None, *, rank: int = 0) -> Column:
    return Column(heading or field.replace("_", " "), field, justify="right", whole=True, rank=rank)


def dollars(field: str, *, rank: int = 0) -> Column:
    """A field `..._usd`."""
    return number(field, f"{field.removesuffix('_usd').replace('_', ' ')} $", rank=rank)


def moment(field: str, heading: str | None = None, *, rank: int = 0) -> Column:
    """Seconds, shown as UTC."""
    return Column(heading or field.removesuffix("_at").replace("_", " "), field, shown, whole=True, rank=rank)


def details(field: str) -> Column:
    """Anything else."""
    return Column(field.replace("_", " "), field, json.dumps, narrowest=SENTENCE_MIN)


def words(field: str, *, rank: int = 0) -> Column:
    """A list of them."""
    return Column(field.replace("_", " "), field, ", ".join, rank=rank)


def counts(field: str, *, rank: int = 0) -> Column:
    """Numbers by name, one a line."""
    return Column(field.replace("_", " "), field, _counts, whole=True, rank=rank)


@dataclass(frozen=True, slots=True)
class Filled:
    """A column with its cells, and the widths between which it is read well."""

    column: Column
    cells: Sequence[str]
    narrow: int
    wide: int

    @classmethod
    def of(cls, column: Column, cells: Sequence[str]) -> Self:
        heading_word = max(map(cell_len, column.heading.split()), default=0)
        longest = max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)
        word = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        narrow = longest if column.whole else max(word, min(column.narrowest, longest))
        return cls(column, cells, max(narrow, heading_word), max(longest, cell_len(column.heading)))


def show(columns: Iterable[Column], objects: Iterable[dict[str, Any]], answer: Any, *, as_json: bool) -> None:
    """Print a table with a row for each object, or `answer` as JSON."""
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    width, rows = _width(), list(objects)
    filled = [Filled.of(column, [_cell(column, row) for row in rows]) for column in columns]
    chosen = fitting(filled, width)
    if not chosen:
        for row in rows:
            _print_one([each.column for each in filled], row, width)
        return
    _print(chosen, width)
    left_out = ", ".join(each.column.heading for each in filled if each not in chosen)
    if left_out:
        print(textwrap.fill(f"Left out: {left_out} (a wider terminal or --json has them)", width))


def show_one(columns: Iterable[Column], one: dict[str, Any], *, as_json: bool) -> None:
    """Print one object, a field a line, or as JSON."""
    if as_json:
        print(json.dumps(one, indent=2))
    else:
        _print_one(columns, one, _width())


def fitting(filled: Sequence[Filled], width: int) -> list[Filled]:
    """The columns that are shown; none if those that must be do not fit."""
    chosen = list(filled)
    while _narrowest(chosen) > width:
        least = max(chosen, key=lambda each: each.column.rank)
        if not least.column.rank:
            return []
        chosen.remove(least)
    return chosen


def widths(filled: Sequence[Filled], width: int) -> list[int]:
    """Of each column: what it needs, and of what is left always one more for that which lacks most."""
    given = [each.narrow for each in filled]
    for _ in range(width - _narrowest(filled)):
        lacks = [each.wide - has for each, has in zip(filled, given, strict=True)]
        if max(lacks) <= 0:
            break
        given[lacks.index(max(lacks))] += 1
    return given


def visible(text: str) -> str:
    """The text with every character that would steer a terminal, or turn the reading direction, written as its escape."""
    return "".join(_escaped(character) if _steers(character) else character for character in text)


def _width() -> int:
    """Of the terminal, or of the variable COLUMNS."""
    return get_terminal_size((PIPE_WIDTH, 0)).columns


def _narrowest(filled: Sequence[Filled]) -> int:
    return sum(each.narrow + FRAME for each in filled) + 1


def _print_one(columns: Iterable[Column], one: dict[str, Any], width: int) -> None:
    fields = list(columns)
    headings = Filled.of(Column("", "", whole=True), [field.heading for field in fields])
    values = Filled.of(Column("", ""), [_cell(field, one) for field in fields])
    _print([headings, values], width, headed=False)


def _print(filled: Sequence[Filled], width: int, *, headed: bool = True) -> None:
    """Without a frame if even so it does not fit: the terminal then wraps what is too long, which can still be copied."""
    fits = _narrowest(filled) <= width
    table = Table(show_header=headed, box=HEAVY_HEAD if fits else None)
    for each, has in zip(filled, widths(filled, width), strict=True):
        table.add_column(Text(each.column.heading), justify=each.column.justify, width=has)
    for row in zip(*(each.cells for each in filled), strict=True):
        table.add_row(*map(Text, row))
    Console(width=max(width, _narrowest(filled))).print(table)


def _cell(column: Column, one: dict[str, Any]) -> str:
    value = one.get(column.field)
    return "" if value is None else visible(column.form(value))


def _steers(character: str) -> bool:
    """Unicode's control, format and surrogate characters; a line may end, and emoji may be joined."""
    return character not in KEPT and unicodedata.category(character) in {"Cc", "Cf", "Cs"}


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _counts(value: dict[str, int]) -> str:
    return "\n".join(f"{name} {count}" for name, count in value.items())
