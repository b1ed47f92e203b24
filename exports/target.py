"""Where an export lies: a folder, or a bucket."""

import os
from pathlib import Path
from typing import Protocol

from exports.bucket import Bucket
from exports.errors import Differs, TargetFailed


class Target(Protocol):
    """Objects by key. A write is whole or has not happened. Raises `TargetFailed`."""

    def read(self, key: str) -> bytes | None:
        """An object's content; None if there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Make an object, or replace it."""

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`, which ends in "/"; sorted."""


def open_target(address: str) -> Target:
    """`s3://bucket/prefix`, or the path of a folder."""
    return Bucket.at(address) if address.startswith("s3://") else Folder(Path(address))


def put(target: Target, key: str, data: bytes) -> None:
    """Make an object; leave an identical one alone. Raises `Differs`."""
    stored = target.read(key)
    if stored is None:
        target.write(key, data)
    elif stored != data:
        raise Differs(f"{key} is there with other content; move it away, or export to another place")


class Folder:
    """A folder on a local disk, made when it is first written to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes | None:
        """See `Target`."""
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TargetFailed(f"{key} cannot be read: {error.strerror}; check the folder") from error

    def write(self, key: str, data: bytes) -> None:
        """See `Target`. The content is on disk before it has its name."""
        file = self._root / key
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            unfinished.rename(file)
        except OSError as error:
            raise TargetFailed(f"{key} cannot be written: {error.strerror}; check the folder and its disk") from error

    def keys(self, prefix: str) -> list[str]:
        """See `Target`."""
        return sorted(f"{prefix}{file.name}" for file in (self._root / prefix).glob("[!.]*"))
