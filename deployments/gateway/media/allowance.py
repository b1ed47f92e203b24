"""What a key may take of the media processes without paying for it.

A request that is answered pays for its media with its charge. The work of any other (a file that is refused in the end, a
client that leaves, credit that does not cover it) is counted against its key, in seconds of a process.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from accounting.key import KeyRecord
from deployments.gateway.errors import RateLimited

# Some six files that take all the time that one may, or a thousand small ones that turn out to be damaged.
SECONDS_MAX = 60.0
# So long a key waits for each second that it took beyond: it keeps a tenth of one process busy at most.
WAIT_S_PER_SECOND = 10.0


@dataclass(slots=True)
class Effort:
    """What one request's media take: `spent_s` of the processes' time. `check` may raise when it is to take more."""

    tenant: str
    check: Callable[[], None] = lambda: None
    spent_s: float = 0.0
    is_paid: bool = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time that the block takes."""
        self.check()
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.spent_s += time.monotonic() - began_s


class Allowance:
    """Unpaid seconds by key; a key's rotations share them. They are forgiven with time."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        # Seconds, and when they were so many.
        self._unpaid: dict[str, tuple[float, float]] = {}

    @contextmanager
    def effort(self, key: KeyRecord) -> Iterator[Effort]:
        """Of a request that is answered in the block; what it took is counted unless it was paid for."""
        effort = Effort(f"{key.org_id}/{key.project_id}", lambda: self._check(key.root))
        try:
            yield effort
        finally:
            if effort.spent_s and not effort.is_paid:
                self._unpaid[key.root] = self._unpaid_s(key.root) + effort.spent_s, self._clock_s()

    def _check(self, root: str) -> None:
        """Raises `RateLimited`."""
        beyond_s = self._unpaid_s(root) - SECONDS_MAX
        if beyond_s > 0:
            raise RateLimited("media_seconds", int(1000 * WAIT_S_PER_SECOND * beyond_s) + 1)

    def _unpaid_s(self, root: str) -> float:
        unpaid_s, at_s = self._unpaid.get(root, (0.0, 0.0))
        unpaid_s -= (self._clock_s() - at_s) / WAIT_S_PER_SECOND
        if unpaid_s <= 0:
            self._unpaid.pop(root, None)
        return max(0.0, unpaid_s)
