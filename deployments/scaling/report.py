"""What a gateway tells the governor once a second, and what it hears in return. Work is in replica-seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self


class Counts(NamedTuple):
    """Of one model, since the gateway began to count: they only ever grow, so a report that is lost loses nothing.

    Batch-class work is apart. `met` and `missed` are requests, by the card's SLO for the first token.
    """

    arrived_work_s: float = 0.0
    arrived_requests: float = 0.0
    arrived_images: float = 0.0
    arrived_batch_work_s: float = 0.0
    finished_work_s: float = 0.0
    met: float = 0.0
    missed: float = 0.0

    def plus(self, more: Self) -> Self:
        return type(self)(*(a + b for a, b in zip(self, more, strict=True)))

    def since(self, before: Self) -> Self:
        """What came after `before`; never below zero."""
        return type(self)(*(max(a - b, 0.0) for a, b in zip(self, before, strict=True)))

    def times(self, factor: float) -> Self:
        return type(self)(*(factor * count for count in self))

    def arrivals(self) -> Self:
        """Without what came of them."""
        return self._replace(finished_work_s=0.0, met=0.0, missed=0.0)


NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class Levels:
    """How things stand with one model at this moment."""

    backlog_work_s: float = 0.0
    batch_backlog_work_s: float = 0.0
    oldest_wait_s: float = 0.0
    in_flight_work_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All models of one gateway. `epoch` names one life of its counters, `age_s` is how long that has lasted."""

    sender: str
    epoch: str
    sequence: int
    age_s: float
    counts: Mapping[str, Counts]
    levels: Mapping[str, Levels]


@dataclass(frozen=True, slots=True)
class News:
    """What the governor knows of a model: replicas that run, None before Serve has said so, and when one more will.

    `undecided_s`: since it last decided about this model, None if it never did.
    """

    running: int | None
    expected_start_s: float
    undecided_s: float | None = None
