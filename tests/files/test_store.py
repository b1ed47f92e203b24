"""The files of all owners."""

from itertools import count

import pytest

from deployments.files.file import File, FileMissing, Owner, Purpose
from deployments.files.objects import Objects
from deployments.files.store import FileStore

OWNER, OTHER = Owner("org", "one"), Owner("org", "other")


@pytest.fixture
def files(objects: Objects) -> FileStore:
    """A store on every kind of place; a millisecond passes with every file."""
    return FileStore(objects, count(1_000).__next__)


async def added(files: FileStore, content: bytes = b"content", purpose: Purpose = Purpose.VISION) -> File:
    async with files.draft(OWNER) as draft:
        await draft.write(content)
        return await draft.keep("name.png", purpose)


async def test_a_file_that_is_kept_is_there(files: FileStore):
    """With its metadata and its content."""
    file = await added(files)
    assert await files.find(OWNER, file.id) == file
    assert (file.filename, file.purpose, file.size_bytes) == ("name.png", Purpose.VISION, 7)
    assert await files.read(file.id, OWNER) == b"content"
    assert b"".join([chunk async for chunk in files.chunks(OWNER, file.id)]) == b"content"
    assert await files.part(OWNER, file.id, 3, 2) == b"te"


async def test_a_draft_that_is_not_kept_never_was(files: FileStore):
    """Its client has left, say."""
    async with files.draft(OWNER) as draft:
        await draft.write(b"content")
    assert await files.ids(OWNER) == []


async def test_another_projects_files_do_not_exist(files: FileStore):
    """Whoever knows an id has nothing of it."""
    file = await added(files)
    assert await files.ids(OTHER) == []
    for use in (files.find(OTHER, file.id), files.read(file.id, OTHER), files.remove(OTHER, file.id)):
        with pytest.raises(FileMissing):
            await use
    assert [chunk async for chunk in files.chunks(OTHER, file.id)] == []


@pytest.mark.parametrize("purpose", Purpose)
async def test_a_model_is_shown_what_was_uploaded_for_that(files: FileStore, purpose: Purpose):
    """Not the files of batches."""
    file = await added(files, purpose=purpose)
    if purpose in (Purpose.VISION, Purpose.USER_DATA):
        assert await files.read(file.id, OWNER) == b"content"
    else:
        with pytest.raises(FileMissing):
            await files.read(file.id, OWNER)


async def test_files_are_listed_by_age(files: FileStore):
    """More of them than are read at once; those that are gone by now are left out."""
    made = [await added(files) for _ in range(40)]
    ids = await files.ids(OWNER)
    assert ids == [file.id for file in made]
    await files.remove(OWNER, ids[3])
    assert [file async for file in files.several(OWNER, ids)] == made[:3] + made[4:]


async def test_a_file_that_is_removed_is_gone(files: FileStore, objects: Objects):
    """Metadata and content."""
    file = await added(files)
    await files.remove(OWNER, file.id)
    with pytest.raises(FileMissing):
        await files.find(OWNER, file.id)
    assert await files.part(OWNER, file.id, 0, 1) is None


@pytest.mark.parametrize("file_id", ["", "file-../../x", "../files"])
async def test_what_is_no_id_is_no_file(files: FileStore, file_id: str):
    """Whatever it would be as a path."""
    with pytest.raises(FileMissing):
        await files.find(OWNER, file_id)
