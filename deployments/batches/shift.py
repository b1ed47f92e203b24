"""Which of several workers works: the one that came last, as long as it says that it is there.

There should be one. But while a replica is replaced, or two fleets were given one bucket, there are two, and what a batch
has come to is written by one at a time.
"""

import secrets
from collections.abc import Callable

import orjson

from deployments.files.objects import Objects

KEY = "worker"
# A sign of life is given so often, and one older than this is none.
SIGN_EVERY_MS = 10_000
GONE_AFTER_MS = 60_000


class Shift:
    """One worker's view. Raises `StoreFailed`."""

    def __init__(self, objects: Objects, now_ms: Callable[[], int]) -> None:
        self._objects = objects
        self._now_ms = now_ms
        self._id = secrets.token_hex(8)

    async def take(self) -> None:
        """From now on it is ours. Whoever had it sees that when it looks next."""
        await self._objects.write(KEY, orjson.dumps({"id": self._id, "at_ms": self._now_ms()}))

    async def is_ours(self) -> bool:
        """Whether to work. If it is another's, and that one is gone, it is ours when asked next."""
        sign = orjson.loads(await self._objects.read(KEY) or b'{"id": "", "at_ms": 0}')
        ours, age_ms = sign["id"] == self._id, self._now_ms() - sign["at_ms"]
        if age_ms > (SIGN_EVERY_MS if ours else GONE_AFTER_MS):
            await self.take()
        return bool(ours)
