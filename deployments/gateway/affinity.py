"""Which replica a request should meet: the one that has seen its first image, or its conversation, before. Pure.

Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018): a key belongs to the next replica on a
ring, so a replica that comes or goes moves only the keys it gains or loses; a replica that is busier than `LOAD_MAX` times
the mean passes the request on to the next.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from deployments.gateway.media.picture import Picture
from deployments.gateway.request import ChatRequest, UserMessage

LOAD_MAX = 1.25
POINTS_PER_REPLICA = 100


class Ring:
    """The replicas, each at many points of a circle."""

    def __init__(self, replicas: Iterable[str]) -> None:
        points = sorted((_point(f"{replica}:{i}"), replica) for replica in replicas for i in range(POINTS_PER_REPLICA))
        self._points = [point for point, _ in points]
        self._replicas = [replica for _, replica in points]

    def walk(self, key: str) -> Iterator[str]:
        """Every replica once, from the key's own onwards."""
        start, seen = bisect_right(self._points, _point(key)), set[str]()
        for i in range(start - len(self._replicas), start):
            replica = self._replicas[i]
            if replica not in seen:
                seen.add(replica)
                yield replica


@lru_cache(maxsize=64)
def ring_of(replicas: tuple[str, ...]) -> Ring:
    """The ring of these replicas, in whatever order they come. Made once."""
    return Ring(replicas)


def choose(key: str, tokens: int, replicas: tuple[str, ...], loads: Mapping[str, int]) -> str:
    """The replica for this key and so much work; `loads` are tokens in flight, of those that have any. There is a replica.

    The bound leaves room for two requests of this size: at low load, where the mean means nothing, nobody is sent away.
    """
    total = tokens + sum(loads.get(replica, 0) for replica in replicas)
    bound = max(LOAD_MAX * total / len(replicas), 2 * tokens)
    within = (replica for replica in ring_of(replicas).walk(key) if loads.get(replica, 0) + tokens <= bound)
    return next(within, None) or min(replicas, key=lambda replica: loads.get(replica, 0))


def affinity_key(chat: ChatRequest, pictures: list[Picture]) -> str:
    """What requests have in common that should meet again: their first image, else how their conversation began."""
    if pictures:
        return pictures[0].sha256
    beginning = hashlib.sha256()
    for message in chat.messages:
        beginning.update(repr(message.content).encode())
        if isinstance(message, UserMessage):
            break
    return beginning.hexdigest()


def _point(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
