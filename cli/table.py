"""What is shown: a table for people, or the answer itself for programs."""

import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.moment import shown

# A line's end, and the joiner of emoji and of some scripts.
KEPT = frozenset("\n\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Column:
    """How one field of an object is shown."""

    heading: str
    field: str
    form: Callable[[Any], str] = str
    justify: Literal["left", "right"] = "left"
    whole: bool = False  # never broken into lines: what is copied


def text(field: str, heading: str | None = None) -> Column:
    return Column(heading or field.replace("_", " "), field)


def name(field: str) -> Column:
    """What an object is called in other commands."""
    return Column(field.replace("_", " "), field, whole=True)


def number(field: str, heading: str | None = None) -> Column:
    return Column(heading or field.replace("_", " "), field, justify="right")


def dollars(field: str) -> Column:
    """A field `..._usd`."""
    return Column(f"{field.removesuffix('_usd').replace('_', ' ')} $", field, justify="right")


def moment(field: str, heading: str | None = None) -> Column:
    """Seconds, shown as UTC."""
    return Column(heading or field.removesuffix("_at").replace("_", " "), field, shown)


def details(field: str) -> Column:
    """Anything else."""
    return Column(field.replace("_", " "), field, json.dumps)


def words(field: str) -> Column:
    """A list, or counts by name."""
    return Column(field.replace("_", " "), field, _words)


def show(columns: Iterable[Column], objects: Iterable[dict[str, Any]], answer: Any, *, as_json: bool) -> None:
    """Print a table with a row for each object, or `answer` as JSON."""
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    table = Table()
    for column in columns:
        table.add_column(column.heading, justify=column.justify, overflow="fold", no_wrap=column.whole)
    for one in objects:
        table.add_row(*(_cell(column, one) for column in columns))
    Console().print(table)


def show_one(columns: Iterable[Column], one: dict[str, Any], *, as_json: bool) -> None:
    """Print one object, a field a line, or as JSON."""
    if as_json:
        print(json.dumps(one, indent=2))
        return
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for column in columns:
        table.add_row(column.heading, _cell(column, one))
    Console().print(table)


def _cell(column: Column, one: dict[str, Any]) -> Text:
    """Plain text: what others have named is no markup."""
    value = one.get(column.field)
    return Text("" if value is None else visible(column.form(value)))


def visible(text: str) -> str:
    """The text with every character that would steer a terminal, or turn the reading direction, written as its escape."""
    return "".join(_escaped(character) if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    """Unicode's control, format and surrogate characters; a line may end, and emoji may be joined."""
    return character not in KEPT and unicodedata.category(character) in {"Cc", "Cf", "Cs"}


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _words(value: list[str] | dict[str, Any]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return ", ".join(value)
