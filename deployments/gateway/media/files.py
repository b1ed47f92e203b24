"""The port to what was uploaded: a part of a request may name a file of `/v1/files` instead of holding its bytes."""

from typing import Protocol

from deployments.files.file import File, FileMissing, Owner


class Files(Protocol):
    """Reads uploaded files. Both raise `FileMissing`, and `StoreFailed` where the store does not work."""

    async def find(self, owner: Owner, file_id: str) -> File:
        """What is known of a file without reading it."""
        ...

    async def read(self, file_id: str, owner: Owner) -> bytes:
        """The whole of a file that a model may be shown."""
        ...


class NoFiles:
    """`Files` of a gateway that keeps none."""

    async def find(self, owner: Owner, file_id: str) -> File:
        raise FileMissing

    async def read(self, file_id: str, owner: Owner) -> bytes:
        raise FileMissing
