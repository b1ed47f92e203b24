"""Leaps of a wall clock: it is set forward, or its machine slept, and more time seems to have passed than has."""

import time
from collections.abc import Callable

# Less than a hold lives longer than its request. What is smaller is how long it took to read both clocks.
LEAP_MS = 1_000


class Leaps:
    """Compares a wall clock with `steady_ms`, which counts the time that has passed; None: that clock does not leap."""

    def __init__(self, steady_ms: Callable[[], int] | None) -> None:
        self._steady_ms = steady_ms
        self._ahead_ms: int | None = None

    def since_last(self, now_ms: int) -> tuple[int, int]:
        """By how much the wall clock has leapt since what was last `remember`ed, and what to remember of this moment."""
        if self._steady_ms is None:
            return 0, 0
        ahead_ms = now_ms - self._steady_ms()
        leapt_ms = 0 if self._ahead_ms is None else ahead_ms - self._ahead_ms
        return (leapt_ms if leapt_ms >= LEAP_MS else 0), ahead_ms

    def remember(self, ahead_ms: int) -> None:
        """What was done about the leap is durable."""
        self._ahead_ms = ahead_ms


def monotonic_ms() -> int:
    """This machine's own count of milliseconds, which nobody sets."""
    return time.monotonic_ns() // 1_000_000
