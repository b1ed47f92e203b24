"""What the statements run on: a transaction on some SQL database."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from accounting.command import Reply, Result

Row = tuple[Any, ...]


class Refused(Exception):
    """The schema refused a statement. `rule` is the constraint's name, or "unique", "reference" or "range"."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class Undo(Exception):
    """A command cannot be carried out: what it has done so far is rolled back, and this is the reply."""

    def __init__(self, result: Result, *, blocked_by: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(result)
        self.reply = Reply(result, blocked_by=blocked_by, retry_after_ms=retry_after_ms)


class Database(Protocol):
    """Statements have `?` for parameters. Raises `Refused` for what the schema forbids."""

    now_ms: int  # the store's clock: the transaction's own time, milliseconds UTC

    def change(self, statement: str, *parameters: object) -> int:
        """Run a statement. Returns how many rows it touched."""

    def one(self, statement: str, *parameters: object) -> Row | None:
        """The first row of an answer."""

    def all(self, statement: str, *parameters: object) -> list[Row]:
        """Every row of an answer."""

    def many(self, statement: str, parameters: Iterable[tuple[object, ...]]) -> None:
        """Run a statement once for each tuple of parameters."""

    def later(self, statement: str, *parameters: object) -> None:
        """Run a statement that nothing depends on: a server is not waited for. A refusal is raised by now, or by the next
        call of another kind.
        """


def values(rows: Sequence[tuple[object, ...]]) -> tuple[str, list[object]]:
    """One statement writes many rows: its VALUES, and their parameters."""
    row = f"({', '.join('?' * len(rows[0]))})"
    return ", ".join([row] * len(rows)), [value for values in rows for value in values]
