"""Objects for asyncio: every call to the folder or bucket runs in a thread."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deployments.files.bucket import Bucket
from deployments.files.place import Folder, Place, Upload

CHUNK_BYTES = 2**20


class Writing:
    """An object in the making: it is there, whole, when `finish` returns."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """Add to it. Raises `StoreFailed`."""
        self.size_bytes += len(data)
        await asyncio.to_thread(self._upload.write, data)

    async def finish(self) -> None:
        """Raises `StoreFailed`."""
        await asyncio.to_thread(self._upload.finish)


class Objects:
    """Bytes by key. Everything raises `StoreFailed` where the store does not work."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def read(self, key: str, start: int = 0, size: int | None = None) -> bytes | None:
        """An object, or at most `size` bytes of it from `start` on; None if there is none."""
        return await asyncio.to_thread(self._place.read, key, start, size)

    async def chunks(self, key: str) -> AsyncIterator[bytes]:
        """An object's bytes in pieces; none at all if there is no such object."""
        start = 0
        while chunk := await self.read(key, start, CHUNK_BYTES):
            yield chunk
            start += len(chunk)

    async def write(self, key: str, data: bytes) -> None:
        """Make a small object, or replace it: whole, or not at all."""
        async with self.writing(key) as writing:
            await writing.write(data)
            await writing.finish()

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[Writing]:
        """Make a large object, or replace it. Unless it is finished inside, nothing of it stays."""
        upload = await asyncio.to_thread(self._place.upload, key)
        try:
            yield Writing(upload)
        finally:
            await asyncio.to_thread(upload.abandon)

    async def remove(self, key: str) -> None:
        """Also one that is not there."""
        await asyncio.to_thread(self._place.remove, key)

    async def keys(self, prefix: str) -> list[str]:
        """The keys right below `prefix`, which ends in "/"; sorted."""
        return await asyncio.to_thread(self._place.keys, prefix)

    async def stored(self, prefix: str) -> tuple[int, int]:
        """How many objects lie right below `prefix`, which ends in "/", and how many bytes they have."""
        return await asyncio.to_thread(self._place.stored, prefix)


def open_objects(address: str) -> Objects:
    """`s3://bucket/prefix`, or the path of a folder. Raises `StoreFailed`."""
    return Objects(Bucket.at(address) if address.startswith("s3://") else Folder(Path(address)))
