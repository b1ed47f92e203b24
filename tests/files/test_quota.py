"""The room of a project's files, on every kind of place."""

import pytest

from deployments.files.file import File, Owner, Purpose
from deployments.files.objects import Objects
from deployments.files.quota import Quota, QuotaReached
from deployments.files.store import FileStore

OWNER, OTHER = Owner("org", "one"), Owner("org", "other")


@pytest.fixture
def files(objects: Objects) -> FileStore:
    """Ten bytes in three files."""
    return FileStore(objects, lambda: 1_000, Quota(bytes_max=10, files_max=3))


async def uploaded(files: FileStore, size: int, owner: Owner = OWNER) -> File:
    async with files.upload(owner) as draft:
        await draft.write(b"x" * size)
        return await draft.keep("name", Purpose.VISION)


async def test_files_have_room_for_their_quota(files: FileStore):
    """And not for a byte more; nothing stays of what had none."""
    await uploaded(files, 4)
    await uploaded(files, 6)
    with pytest.raises(QuotaReached):
        await uploaded(files, 1)
    assert len(await files.ids(OWNER)) == 2
    await uploaded(files, 10, OTHER)


async def test_a_file_that_is_too_large_for_what_is_left_is_stopped_on_its_way(files: FileStore):
    """Before its last byte has come."""
    await uploaded(files, 4)
    async with files.upload(OWNER) as draft:
        await draft.write(b"x" * 6)
        with pytest.raises(QuotaReached):
            await draft.write(b"x")
    assert len(await files.ids(OWNER)) == 1
    await uploaded(files, 6)


async def test_so_many_files_and_no_more(files: FileStore):
    """However small they are: each of them is counted."""
    for _ in range(3):
        await uploaded(files, 1)
    with pytest.raises(QuotaReached):
        await uploaded(files, 1)


async def test_a_deleted_file_gives_its_room_back(files: FileStore):
    """All of it."""
    file = await uploaded(files, 10)
    await files.remove(OWNER, file.id)
    await uploaded(files, 10)


async def test_uploads_at_once_share_what_is_left(files: FileStore):
    """None of them may take what another is writing already; what was not kept is room again."""
    async with files.upload(OWNER) as one, files.upload(OWNER) as other:
        await one.write(b"x" * 6)
        with pytest.raises(QuotaReached):
            await other.write(b"x" * 5)
    await uploaded(files, 10)


async def test_what_another_process_has_kept_meanwhile_counts(files: FileStore, objects: Objects):
    """It is seen at the end."""
    elsewhere = FileStore(objects, lambda: 2_000, files.quota)
    async with files.upload(OWNER) as draft:
        await draft.write(b"x" * 6)
        await uploaded(elsewhere, 6)
        with pytest.raises(QuotaReached):
            await draft.keep("name", Purpose.VISION)
    assert len(await files.ids(OWNER)) == 1


async def test_what_a_batch_has_come_to_is_written_in_any_case(files: FileStore):
    """It was paid for; and it counts."""
    async with files.draft(OWNER) as draft:
        await draft.write(b"x" * 99)
        await draft.keep("output", Purpose.BATCH_OUTPUT)
    with pytest.raises(QuotaReached):
        await uploaded(files, 1)
