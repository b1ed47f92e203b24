"""What a gateway holds at once, counted from the key on, before a body is read: requests, and the bytes of their bodies.

Budgets, rate limits and queue come later, with the hold: whoever only sends bodies, or sends them slowly, meets these bounds.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from accounting.key import KeyRecord
from deployments.gateway.errors import RateLimited
from deployments.gateway.shares import Full, Shares

RETRY_AFTER_MS = 1_000
# The ledger counts a key's concurrency exactly. Here a request's end may be a moment late, and the retry of a request
# arrives while the first still runs: twice the limit and a few more pass.
SPARE = 4


@dataclass(frozen=True, slots=True)
class ArrivalLimits:
    """Of one gateway. Parsed, decoded and encoded for an engine, a body takes some four times its bytes."""

    requests_max: int = 1_000
    bytes_max: int = 512 * 2**20


class Arrivals:
    """The requests that are in one gateway, shared between tenants (`organisation/project`)."""

    def __init__(self, limits: ArrivalLimits) -> None:
        self._requests = Shares(limits.requests_max)
        self._bytes = Shares(limits.bytes_max)
        self._of_key: dict[str, int] = defaultdict(int)

    @contextmanager
    def arrive(self, key: KeyRecord) -> Iterator["Arrival"]:
        """Count a request of this key while the block runs. Raises `RateLimited`."""
        concurrency = key.limits.concurrency
        if concurrency is not None and self._of_key[key.root] >= 2 * concurrency + SPARE:
            raise RateLimited("concurrency", RETRY_AFTER_MS)
        arrival = Arrival(f"{key.org_id}/{key.project_id}", self._bytes)
        try:
            self._requests.take(arrival.tenant)
        except Full:
            raise RateLimited("requests_in_flight", RETRY_AFTER_MS) from None
        self._of_key[key.root] += 1
        try:
            yield arrival
        finally:
            self._requests.give(arrival.tenant)
            arrival.end()
            self._of_key[key.root] -= 1
            if not self._of_key[key.root]:
                del self._of_key[key.root]


class Arrival:
    """One request, and the bytes of its body so far."""

    def __init__(self, tenant: str, room: Shares) -> None:
        self.tenant = tenant
        self._room = room
        self._bytes = 0

    def grow(self, size_bytes: int) -> None:
        """So many bytes more have come. Raises `RateLimited`."""
        try:
            self._room.take(self.tenant, size_bytes)
        except Full:
            raise RateLimited("bytes_in_flight", RETRY_AFTER_MS) from None
        self._bytes += size_bytes

    def end(self) -> None:
        """Give all of them back."""
        self._room.give(self.tenant, self._bytes)
        self._bytes = 0
