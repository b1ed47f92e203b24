"""The files of all owners: content first, metadata last, so that a file without its content is never seen."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from deployments.files.file import FILE, VISIBLE, File, FileMissing, Owner, Purpose, is_id, new_id
from deployments.files.objects import Objects, Writing
from deployments.files.quota import QUOTA, Quota, Room, Rooms

READ_AT_ONCE = 32


class Draft:
    """A file whose content is being written. It exists once it is kept. One with a `room` raises `QuotaReached`."""

    def __init__(
        self, objects: Objects, owner: Owner, file_id: str, at_ms: int, writing: Writing, room: Room | None = None
    ) -> None:
        self._objects = objects
        self._owner = owner
        self._file_id = file_id
        self._at_ms = at_ms
        self._writing = writing
        self._room = room

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._writing.size_bytes

    async def write(self, data: bytes) -> None:
        if self._room:
            self._room.take(len(data))
        await self._writing.write(data)

    async def keep(self, filename: str, purpose: Purpose) -> File:
        """End the content and make the file."""
        if self._room:
            await self._room.check()  # others may have been kept meanwhile
        await self._writing.finish()
        if self._room:
            self._room.give_back()
        file = File(self._file_id, filename, purpose, self.size_bytes, self._at_ms)
        await self._objects.write(_about(self._owner, file.id), file.encoded())
        return file


class FileStore:
    """Files by owner and id. Everything raises `StoreFailed` where the store does not work."""

    def __init__(self, objects: Objects, now_ms: Callable[[], int], quota: Quota = QUOTA) -> None:
        self.quota = quota
        self._objects = objects
        self._now_ms = now_ms
        self._rooms = Rooms(objects, quota)

    @asynccontextmanager
    async def upload(self, owner: Owner) -> AsyncIterator[Draft]:
        """A new file within its project's quota; nothing stays of it unless it is kept inside. Raises `QuotaReached`."""
        with self._rooms.room(owner) as room:
            await room.check()
            at_ms = self._now_ms()
            file_id = new_id(FILE, at_ms)
            async with self._objects.writing(_content(owner, file_id)) as writing:
                yield Draft(self._objects, owner, file_id, at_ms, writing, room)

    @asynccontextmanager
    async def draft(self, owner: Owner, file_id: str = "") -> AsyncIterator[Draft]:
        """As `upload`, without a quota, though it counts: what a batch has come to is paid for. Or a file of a known id anew."""
        at_ms = self._now_ms()
        file_id = file_id or new_id(FILE, at_ms)
        async with self._objects.writing(_content(owner, file_id)) as writing:
            yield Draft(self._objects, owner, file_id, at_ms, writing)

    async def find(self, owner: Owner, file_id: str) -> File:
        """Raises `FileMissing`."""
        about = await self._objects.read(_about(owner, file_id)) if is_id(FILE, file_id) else None
        if about is None:
            raise FileMissing
        return File.decoded(about)

    async def ids(self, owner: Owner) -> list[str]:
        """Of all of an owner's files, oldest first."""
        return [key.rpartition("/")[2] for key in await self._objects.keys(_about(owner, ""))]

    async def several(self, owner: Owner, ids: list[str]) -> AsyncIterator[File]:
        """Those of them that are still there, in this order; a few are read at once."""
        for first in range(0, len(ids), READ_AT_ONCE):
            read = [self._objects.read(_about(owner, file_id)) for file_id in ids[first : first + READ_AT_ONCE]]
            for about in await asyncio.gather(*read):
                if about is not None:
                    yield File.decoded(about)

    def chunks(self, owner: Owner, file_id: str) -> AsyncIterator[bytes]:
        """A file's content in pieces; none at all if the file is gone."""
        return self._objects.chunks(_content(owner, file_id))

    async def part(self, owner: Owner, file_id: str, start: int, size: int) -> bytes | None:
        """At most so many bytes of a file's content; None if the file is gone."""
        return await self._objects.read(_content(owner, file_id), start, size)

    async def read(self, file_id: str, owner: Owner) -> bytes:
        """The content of a file that a model may be shown. Raises `FileMissing`."""
        file = await self.find(owner, file_id)
        content = await self._objects.read(_content(owner, file_id)) if file.purpose in VISIBLE else None
        if content is None:
            raise FileMissing
        return content

    async def remove(self, owner: Owner, file_id: str) -> None:
        """Raises `FileMissing`."""
        await self.find(owner, file_id)
        await self._objects.remove(_about(owner, file_id))
        await self._objects.remove(_content(owner, file_id))


def _about(owner: Owner, file_id: str) -> str:
    return f"files/{owner.path}/{file_id}"


def _content(owner: Owner, file_id: str) -> str:
    return f"contents/{owner.path}/{file_id}"
