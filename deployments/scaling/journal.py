"""The rows that explain decisions, on disk: they outlive the governor, as far as its disk does."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from autoscaling.row import Row
from deployments.private import opener, private_folder
from deployments.scaling.rows import ROWS_KEPT


class Journal:
    """Two files of JSON lines, `file` and the one before it: when one is full the older one goes.

    A line that cannot be read is passed over: the last one of a crash, or one of another version.
    """

    def __init__(self, file: Path, full: int = ROWS_KEPT) -> None:
        self._file = file
        self._before = file.with_suffix(".before")
        self._full = full
        self._lines = 0

    def read(self) -> list[Row]:
        """The newest `full` rows, the oldest first."""
        before, now = (list(_rows(file)) for file in (self._before, self._file))
        self._lines = len(now)
        return [*before, *now][-self._full :]

    def write(self, rows: Iterable[Row]) -> None:
        lines = [row.to_json() + "\n" for row in rows]
        if not lines:
            return
        if self._lines + len(lines) > self._full and self._file.exists():
            self._file.replace(self._before)
            self._lines = 0
        private_folder(self._file.parent)
        with open(self._file, "a", opener=opener) as file:
            file.write("".join(lines))
        self._lines += len(lines)


def _rows(file: Path) -> Iterator[Row]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield Row.from_json(line)
        except (ValueError, TypeError, KeyError):
            continue
