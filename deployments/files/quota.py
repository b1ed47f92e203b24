"""How much of a project's files there may be, so that nobody fills the disk of all, which is often the ledger's too.

Counted is what lies there, so a deleted file gives its room back and no counter can be wrong, and what this process is writing.
Several gateways may let a project's uploads of the same moment pass its quota by those.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deployments.files.file import MIB, Owner
from deployments.files.objects import Objects


@dataclass(frozen=True, slots=True)
class Quota:
    """Of each project. The number bounds how long counting takes."""

    bytes_max: int = 10 * 1024 * MIB
    files_max: int = 10_000


QUOTA = Quota()


class QuotaReached(Exception):
    """The project's files, and the one that is being written, would be more than there may be."""


class Room:
    """What one upload takes of its project's room."""

    def __init__(self, rooms: "Rooms", owner: Owner) -> None:
        self._rooms = rooms
        self._owner = owner
        self._stored_bytes = 0
        self._size_bytes = 0

    async def check(self) -> None:
        """Count anew. Raises `QuotaReached` or `StoreFailed`."""
        files, self._stored_bytes = await self._rooms.stored(self._owner)
        if files >= self._rooms.quota.files_max or self._stored_bytes >= self._rooms.quota.bytes_max:
            raise QuotaReached
        self.take(0)

    def take(self, size_bytes: int) -> None:
        """So much more is about to be written. Raises `QuotaReached`."""
        self._size_bytes += size_bytes
        self._rooms.writing[self._owner] += size_bytes
        if self._stored_bytes + self._rooms.writing[self._owner] > self._rooms.quota.bytes_max:
            raise QuotaReached

    def give_back(self) -> None:
        """It lies there now, and is counted as what does, or it is nowhere."""
        self._rooms.writing[self._owner] -= self._size_bytes
        self._size_bytes = 0


class Rooms:
    """Of all projects. `writing`: bytes of uploads on their way, by project."""

    def __init__(self, objects: Objects, quota: Quota) -> None:
        self.quota = quota
        self.writing: Counter[Owner] = Counter()
        self._objects = objects

    async def stored(self, owner: Owner) -> tuple[int, int]:
        """How many files a project has, and their bytes. Raises `StoreFailed`."""
        return await self._objects.stored(f"contents/{owner.path}/")

    @contextmanager
    def room(self, owner: Owner) -> Iterator[Room]:
        """For an upload."""
        room = Room(self, owner)
        try:
            yield room
        finally:
            room.give_back()
            if not self.writing[owner]:
                del self.writing[owner]
