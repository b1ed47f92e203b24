"""Where objects lie: a folder, or a bucket. Blocking; `objects.py` is the way in for asyncio."""

import os
import secrets
from pathlib import Path
from typing import Protocol

from deployments.private import opener, private_folder


class StoreFailed(OSError):
    """The store did not do what it was asked; the message names the object. What was asked may be asked again."""


class Upload(Protocol):
    """An object that grows: it is there, whole, when `finish` returns, and nothing of it is before. Raises `StoreFailed`."""

    def write(self, data: bytes) -> None:
        """Add to it."""

    def finish(self) -> None:
        """Give it its name."""

    def abandon(self) -> None:
        """Forget it. Does nothing once it is finished."""


class Place(Protocol):
    """Objects by key. Raises `StoreFailed`."""

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes | None:
        """An object's bytes, or at most `size` of them from `start` on; None if there is no such object."""

    def upload(self, key: str) -> Upload:
        """Make an object, or replace it."""

    def remove(self, key: str) -> None:
        """Also one that is not there."""

    def keys(self, prefix: str) -> list[str]:
        """The keys right below `prefix`, which ends in "/"; sorted."""

    def stored(self, prefix: str) -> tuple[int, int]:
        """How many objects lie right below `prefix`, and how many bytes they have."""


class Folder:
    """A folder on a local disk, made when it is first written to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str, start: int = 0, size: int | None = None) -> bytes | None:
        """See `Place`."""
        try:
            with (self._root / key).open("rb") as opened:
                opened.seek(start)
                return opened.read(size)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"{key} cannot be read: {error.strerror}") from error

    def upload(self, key: str) -> Upload:
        """See `Place`."""
        return _FolderUpload(self._root, key)

    def remove(self, key: str) -> None:
        """See `Place`."""
        try:
            (self._root / key).unlink(missing_ok=True)
        except OSError as error:
            raise StoreFailed(f"{key} cannot be removed: {error.strerror}") from error

    def keys(self, prefix: str) -> list[str]:
        """See `Place`. Unfinished objects are hidden files."""
        return sorted(f"{prefix}{file.name}" for file in (self._root / prefix).glob("[!.]*") if file.is_file())

    def stored(self, prefix: str) -> tuple[int, int]:
        """See `Place`."""
        try:
            with os.scandir(self._root / prefix) as found:
                sizes = [size for file in found if not file.name.startswith(".") and (size := _size(file)) is not None]
        except FileNotFoundError:
            return 0, 0
        except OSError as error:
            raise StoreFailed(f"{prefix} cannot be looked through: {error.strerror}") from error
        return len(sizes), sum(sizes)


def _size(file: os.DirEntry[str]) -> int | None:
    """None: it is no object, or was removed meanwhile."""
    try:
        return file.stat().st_size if file.is_file() else None
    except FileNotFoundError:
        return None


class _FolderUpload:
    """A hidden file, which gets its name when its content is on disk."""

    def __init__(self, root: Path, key: str) -> None:
        self._key = key
        self._file = root / key
        self._unfinished = self._file.with_name(f".{self._file.name}.{secrets.token_hex(4)}")
        try:
            for folder in (root, self._file.parent):
                private_folder(folder)
            self._opened = open(self._unfinished, "xb", opener=opener)  # noqa: SIM115  # `finish` and `abandon` close it
        except OSError as error:
            raise self._failed(error) from error

    def write(self, data: bytes) -> None:
        """See `Upload`."""
        try:
            self._opened.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """See `Upload`."""
        try:
            self._opened.flush()
            os.fsync(self._opened.fileno())
            self._opened.close()
            self._unfinished.rename(self._file)
        except OSError as error:
            raise self._failed(error) from error

    def abandon(self) -> None:
        """See `Upload`."""
        self._opened.close()
        self._unfinished.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> StoreFailed:
        return StoreFailed(f"{self._key} cannot be written: {error.strerror}")
