"""Folders and buckets: one suite for both."""

import asyncio
import os
from pathlib import Path

import boto3
import pytest

from deployments.files.bucket import PART_BYTES
from deployments.files.objects import CHUNK_BYTES, Objects, open_objects
from deployments.files.place import StoreFailed

# More than two parts of a multipart upload, of which the last is small; and not a multiple of anything.
LARGE = bytes(range(251)) * (2 * PART_BYTES // 251 + 7)


async def test_what_is_written_is_read(objects: Objects):
    """And what was not is nothing."""
    await objects.write("files/a/b", b"one")
    await objects.write("files/a/b", b"another")
    assert await objects.read("files/a/b") == b"another"
    assert await objects.read("files/a/c") is None


@pytest.mark.parametrize(
    ("start", "size", "part"), [(0, 2, b"ab"), (2, 2, b"cd"), (3, 9, b"de"), (5, 2, b""), (9, 2, b"")]
)
async def test_a_part_is_read(objects: Objects, start: int, size: int, part: bytes):
    """Up to the end, whatever was asked for."""
    await objects.write("a", b"abcde")
    assert await objects.read("a", start, size) == part


async def test_an_empty_object_is_one(objects: Objects):
    """Not the same as none."""
    await objects.write("a", b"")
    assert await objects.read("a") == b""
    assert await objects.read("a", 0, 10) == b""


async def test_a_large_object_goes_through_in_pieces(objects: Objects):
    """None of them larger than a chunk."""
    async with objects.writing("a") as writing:
        for start in range(0, len(LARGE), 3_000_000):
            await writing.write(LARGE[start : start + 3_000_000])
        await writing.finish()
        assert writing.size_bytes == len(LARGE)
    chunks = [chunk async for chunk in objects.chunks("a")]
    assert b"".join(chunks) == LARGE
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
async def test_what_is_not_finished_is_not_there(objects: Objects, address: str, data: bytes):
    """And leaves nothing behind, large or small."""
    async with objects.writing("a/b") as writing:
        await writing.write(data)
    assert await objects.read("a/b") is None
    if address.startswith("s3://"):
        assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket=address.split("/")[2])
    else:
        assert list(Path(address, "a").iterdir()) == []  # noqa: ASYNC240  # nobody waits


async def test_keys_are_listed_in_order(objects: Objects):
    """Those right below a prefix, and no others."""
    assert await objects.keys("queue/") == []
    for key in ("queue/2", "queue/1", "queue/deep/1", "queue-2/1", "files/1"):
        await objects.write(key, b"")
    assert await objects.keys("queue/") == ["queue/1", "queue/2"]


async def test_what_is_removed_is_gone(objects: Objects):
    """Twice is no mistake."""
    await objects.write("a/b", b"")
    for _ in range(2):
        await objects.remove("a/b")
    assert await objects.keys("a/") == []


async def test_writers_of_one_key_do_not_mix(objects: Objects):
    """Whichever ends last has made the object."""

    async def write(letter: bytes) -> None:
        async with objects.writing("a") as writing:
            for _ in range(3):
                await writing.write(letter)
            await writing.finish()

    await asyncio.gather(write(b"a"), write(b"b"))
    assert await objects.read("a") in (b"aaa", b"bbb")


@pytest.mark.parametrize(
    "use",
    [
        lambda objects: objects.read("a/b"),
        lambda objects: objects.write("a/b", b""),
        lambda objects: objects.remove("a/b"),
    ],
)
async def test_a_folder_that_does_not_work_is_named(tmp_path: Path, use):
    """Here, a file is in its place."""
    (tmp_path / "a").touch()
    with pytest.raises(StoreFailed, match="a/b"):
        await use(open_objects(str(tmp_path)))


@pytest.mark.parametrize(
    "use",
    [
        lambda objects: objects.read("a/b"),
        lambda objects: objects.write("a/b", b""),
        lambda objects: objects.keys("a/"),
        lambda objects: objects.remove("a/b"),
    ],
)
async def test_a_bucket_that_does_not_work_is_named(s3: str, use):
    """Here, there is none."""
    with pytest.raises(StoreFailed, match=r"a/.*check the bucket"):
        await use(open_objects("s3://nowhere/x"))


async def test_objects_are_counted_with_their_bytes(objects: Objects):
    """Those right below a prefix; nothing is none of them."""
    assert await objects.stored("files/a/") == (0, 0)
    for key in ("files/a/b", "files/a/c", "files/a/d/e", "files/b"):
        await objects.write(key, b"four")
    assert await objects.stored("files/a/") == (2, 8)


async def test_what_users_sent_is_the_owners(tmp_path: Path):
    """Whatever the umask: folders and files."""
    before = os.umask(0)
    try:
        await open_objects(str(tmp_path / "files")).write("contents/ab/cd", b"theirs")
    finally:
        os.umask(before)
    assert [mode for mode in modes_below(tmp_path / "files") if mode & 0o077] == []


def modes_below(folder: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))]
