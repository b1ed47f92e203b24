"""Which of those that wait are computed together. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Waiting(Protocol):
    """What a request costs is its vision tokens."""

    @property
    def vision_tokens(self) -> int: ...


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one batch. A request beyond the bound of vision tokens is computed alone."""

    sequences: int
    vision_tokens: int


def batch(waiting: Iterable[W], bounds: Bounds) -> list[W]:
    """The one that has waited longest, and of the others, in their order, those that fit beside it."""
    chosen: list[W] = []
    vision_tokens = 0
    for one in waiting:
        fits = len(chosen) < bounds.sequences and vision_tokens + one.vision_tokens <= bounds.vision_tokens
        if fits or not chosen:
            chosen.append(one)
            vision_tokens += one.vision_tokens
    return chosen
