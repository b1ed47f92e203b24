"""The rows that explain decisions: one for each change, and one a minute; the oldest make room. Pure."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from autoscaling.row import Row

ROWS_KEPT = 20_000
EVERY_S = 60.0


class Rows:
    """`before` are those of a governor before this one: past, and nobody's latest."""

    def __init__(self, before: Iterable[Row] = (), kept: int = ROWS_KEPT) -> None:
        self._rows: deque[Row] = deque(before, maxlen=kept)
        self._kept = {row.model: row for row in self._rows}  # the last one of each model
        self._latest: dict[str, Row] = {}
        self._new: list[Row] = []

    def add(self, row: Row) -> bool:
        """Whether it is kept; it is the model's latest in any case."""
        self._latest[row.model] = row
        before = self._kept.get(row.model)
        if before and _same(before, row) and row.at_s - before.at_s < EVERY_S:
            return False
        self._kept[row.model] = row
        self._rows.append(row)
        self._new.append(row)
        return True

    def take_new(self) -> list[Row]:
        """Those that were kept since it was last asked."""
        new, self._new = self._new, []
        return new

    def latest(self) -> list[Row]:
        """One of each model, by name."""
        return [self._latest[model] for model in sorted(self._latest)]

    def of(self, model: str, at_s: float | None, limit: int) -> list[Row]:
        """The newest first: those before `at_s`, or the latest and those before it."""
        until_s = float("inf") if at_s is None else at_s
        kept = (row for row in reversed(self._rows) if row.model == model and row.at_s < until_s)
        latest = self._latest.get(model)
        if latest and latest.at_s < until_s and latest is not self._kept[model]:
            return [latest, *islice(kept, limit - 1)]
        return list(islice(kept, limit))


def _same(a: Row, b: Row) -> bool:
    """Nothing that anybody would act upon has changed."""
    return (a.answer.want, a.answer.replicas, a.facts.running, a.facts.pending, a.facts.granted) == (
        b.answer.want,
        b.answer.replicas,
        b.facts.running,
        b.facts.pending,
        b.facts.granted,
    )
