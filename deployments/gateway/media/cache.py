"""Images that were made ready before: what is decoded once need not be decoded again in the next turn of a chat."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from deployments.gateway.media.flight import SingleFlight

K = TypeVar("K", bound=Hashable)


class Cache(Generic[K]):
    """Bytes by key, at most `bytes_max` of them; what was not used for longest goes first.

    A key is the content that its bytes were made from, and how: what it stands for never changes.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: OrderedDict[K, bytes] = OrderedDict()
        self._kept_bytes = 0
        self.hits = 0
        self.misses = 0
        self._flights: SingleFlight[K, bytes] = SingleFlight()

    @property
    def kept_bytes(self) -> int:
        return self._kept_bytes

    async def get(self, key: K, make: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """What is kept under `key`; else what `make` returns, made once for all who ask meanwhile."""
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self.misses += 1
        made = await self._flights.join(key, make)
        self._keep(key, made)
        return made

    def _keep(self, key: K, made: bytes) -> None:
        if key in self._kept or len(made) > self._bytes_max:
            return
        self._kept[key] = made
        self._kept_bytes += len(made)
        while self._kept_bytes > self._bytes_max:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped)
