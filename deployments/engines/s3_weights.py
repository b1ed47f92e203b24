"""Weights in S3, copied to the node's own disk: in parts side by side, resumed where a start was killed, checked against the
checksums of the store, and kept by their content, so that changed weights are another copy.
"""

import hashlib
import os
import shutil
from base64 import b64decode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART_BYTES = 64 * 2**20
PARTS_AT_ONCE = 16
PARTIAL, DONE = ".partial", ".parts"
MD5_HEX_DIGITS = 32


class WeightsError(Exception):
    """A card's weights are not where its source says, or not what they should be."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object below the URL; `etag` changes with its content."""

    key: str
    name: PurePosixPath
    size_bytes: int
    etag: str


def copied(url: str, cache: Path) -> Path:
    """The node's copy of everything below `url`. Raises `WeightsError`."""
    client = boto3.client("s3", config=Config(max_pool_connections=PARTS_AT_ONCE))
    address = urlsplit(url)
    items = sorted(_items(client, address.netloc, address.path.strip("/") + "/", url), key=lambda item: item.key)
    if not items:
        raise WeightsError(f"there is nothing below {url}; correct the card's source.s3")
    folder = cache / _content(items)
    if not folder.is_dir():
        _copy(client, address.netloc, items, folder)
    return folder


def _items(client: "S3Client", bucket: str, prefix: str, url: str) -> Iterator[Item]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):
                name = _within(found["Key"].removeprefix(prefix), url)
                yield Item(found["Key"], name, found["Size"], found["ETag"].strip('"'))


def _within(name: str, url: str) -> PurePosixPath:
    """A key as a relative path. Raises `WeightsError` for one that would lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise WeightsError(f"an object below {url} has a name that leads out of its folder")
    return path


def _content(items: Iterable[Item]) -> str:
    """What the copy is called: equal content, equal name."""
    lines = "".join(f"{item.name} {item.size_bytes} {item.etag}\n" for item in items)
    return hashlib.sha256(lines.encode()).hexdigest()[:24]


def _copy(client: "S3Client", bucket: str, items: list[Item], folder: Path) -> None:
    """Into a folder beside, which a killed start leaves and the next goes on with; its last step is the rename."""
    unfinished = folder.with_suffix(".unfinished")
    missing = [item for item in items if not (unfinished / item.name).exists()]
    with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="weights") as pool:
        for item in missing:
            _begin(unfinished / item.name, item.size_bytes)
        parts = [
            (item, number) for item in missing for number in _missing_parts(unfinished / item.name, item.size_bytes)
        ]
        list(pool.map(lambda part: _copy_part(client, bucket, unfinished / part[0].name, *part), parts))
        list(pool.map(lambda item: _finish(client, bucket, unfinished / item.name, item), missing))
    try:
        unfinished.rename(folder)
    except OSError:  # another replica on this node was faster
        shutil.rmtree(unfinished, ignore_errors=True)


def _begin(file: Path, size_bytes: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with _beside(file, PARTIAL).open("ab") as partial:
        partial.truncate(size_bytes)


def _missing_parts(file: Path, size_bytes: int) -> list[int]:
    done = _beside(file, DONE)
    there = {int(line) for line in done.read_text(encoding="utf-8").split()} if done.exists() else set()
    return [number for number in range(-(-size_bytes // PART_BYTES)) if number not in there]


def _copy_part(client: "S3Client", bucket: str, file: Path, item: Item, number: int) -> None:
    """`IfMatch`: an object that changed meanwhile is an error, not a mixture."""
    first = number * PART_BYTES
    last = min(first + PART_BYTES, item.size_bytes) - 1
    answer = client.get_object(Bucket=bucket, Key=item.key, Range=f"bytes={first}-{last}", IfMatch=item.etag)
    with _beside(file, PARTIAL).open("r+b") as partial:
        partial.seek(first)
        shutil.copyfileobj(answer["Body"], partial)
        partial.flush()
        os.fsync(partial.fileno())
    with _beside(file, DONE).open("a", encoding="utf-8") as done:
        done.write(f"{number}\n")


def _finish(client: "S3Client", bucket: str, file: Path, item: Item) -> None:
    """Check the whole file, and give it its name. Raises `WeightsError`; then it is copied anew by the next start."""
    partial = _beside(file, PARTIAL)
    algorithm, expected = _checksum(client, bucket, item)
    if algorithm:
        with partial.open("rb") as content:
            found = hashlib.file_digest(content, algorithm).hexdigest()
        if found != expected:
            partial.unlink()
            _beside(file, DONE).unlink(missing_ok=True)
            raise WeightsError(f"{item.name} is not what the store's {algorithm} says; start again, or upload it anew")
    _beside(file, DONE).unlink(missing_ok=True)
    partial.rename(file)


def _checksum(client: "S3Client", bucket: str, item: Item) -> tuple[str, str]:
    """Algorithm and hex digest of the whole object, as the store knows it; empty where it has none.

    An ETag is the MD5 of an object that was uploaded in one part; else it is made of its parts', whose sizes nobody knows.
    """
    head = client.head_object(Bucket=bucket, Key=item.key, ChecksumMode="ENABLED")
    if sha256 := head.get("ChecksumSHA256"):
        return ("", "") if "-" in sha256 else ("sha256", b64decode(sha256).hex())
    is_md5 = len(item.etag) == MD5_HEX_DIGITS and head.get("ServerSideEncryption") != "aws:kms"
    return ("md5", item.etag) if is_md5 else ("", "")


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
