"""`/v1/files`, by OpenAI's own client and byte by byte."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from accounting.command import AddKey
from accounting.key import Scope, mint
from deployments.files.file import BYTES_MAX, MIB
from deployments.files.quota import Quota
from tests.gateway.client import Client
from tests.gateway.house import House, running_house
from tests.gateway.test_idempotency import served


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        served(house) as port,
        openai.AsyncOpenAI(api_key=house.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client,
    ):
        yield client


async def test_openais_client_uploads_lists_reads_and_deletes(client: openai.AsyncOpenAI):
    """A file larger than any piece of it that is in memory."""
    content = bytes(range(256)) * 20_000
    file = await client.files.create(file=("a.jsonl", io.BytesIO(content)), purpose="batch")
    assert (file.filename, file.purpose, file.bytes, file.status) == ("a.jsonl", "batch", len(content), "processed")
    assert await client.files.retrieve(file.id) == file
    assert (await client.files.content(file.id)).content == content
    assert [one async for one in client.files.list()] == [file]
    assert (await client.files.delete(file.id)).deleted
    assert [one async for one in client.files.list()] == []
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)


async def test_openais_client_turns_pages(client: openai.AsyncOpenAI, house: House):
    """Newest first, or oldest first; of one purpose, or of all."""
    made = []
    for i in range(5):
        house.clock.ms += 1
        purpose = "vision" if i % 2 else "user_data"
        made.append((await client.files.create(file=("f", b"x"), purpose=purpose)).id)
    assert [one.id async for one in client.files.list(limit=2)] == made[::-1]
    assert [one.id async for one in client.files.list(limit=2, order="asc")] == made
    assert [one.id async for one in client.files.list(limit=1, purpose="vision")] == [made[3], made[1]]


async def test_another_projects_files_do_not_exist(client: openai.AsyncOpenAI, house: House):
    """To read, to list, to delete."""
    file = await client.files.create(file=("f", b"x"), purpose="vision")
    other, record = mint("org", "other", "other", (Scope.INFERENCE,))
    await house.do(AddKey(record))
    theirs = client.with_options(api_key=other)
    assert [one async for one in theirs.files.list()] == []
    for use in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
        with pytest.raises(openai.NotFoundError):
            await use(file.id)
    assert (await client.files.content(file.id)).content == b"x"


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({}, {"file": b"x"}, "purpose"),
        ({"purpose": "fine-tune"}, {"file": b"x"}, "purpose"),
        ({"purpose": "batch_output"}, {"file": b"x"}, "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, {"file": b"x"}, "expires_after"),
        ({"purpose": "batch"}, {"file": b""}, "file"),
        ({"purpose": "batch"}, {"other": b"x"}, "other"),
        ({"purpose": "batch", "file": "x"}, {"image": b"x"}, "image"),
    ],
)
async def test_what_is_wrong_with_a_form_is_named(
    house: House, data: dict[str, str], files: dict[str, bytes], param: str
):
    """And nothing of it is kept."""
    request = httpx.Request("POST", "http://x", data=data, files=files)
    form = {"content_type": request.headers["content-type"]}
    client = await Client(request.read(), house.key, "/v1/files", **form).ask(house.app)
    assert (client.status, client.error["param"]) == (400, param)
    kept = [path for path in (house.file.parent / "files").rglob("*") if path.is_file()]
    assert kept == []


async def test_a_file_above_its_purposes_cap_is_refused(house: House, monkeypatch: pytest.MonkeyPatch):
    """As soon as it is known to be."""
    monkeypatch.setitem(BYTES_MAX, "batch", 1000)
    request = httpx.Request("POST", "http://x", data={"purpose": "batch"}, files={"file": b"x" * 1001})
    form = {"content_type": request.headers["content-type"]}
    client = await Client(request.read(), house.key, "/v1/files", **form).ask(house.app)
    assert (client.status, client.error["code"]) == (413, "file_too_large")


async def test_a_body_above_every_cap_is_refused_unread(house: House):
    """By what it says of its length."""
    headers = {"content_type": "multipart/form-data; boundary=x", "content_length": str(513 * MIB)}
    client = await Client(b"", house.key, "/v1/files", **headers).ask(house.app)
    assert client.status == 413


async def test_files_need_a_key_that_infers(house: House):
    """Not the operator's."""
    client = await Client(b"", house.admin_key, "/v1/files", "GET").ask(house.app)
    assert (client.status, client.error["code"]) == (403, "scope_not_allowed")


async def test_a_store_that_does_not_work_is_a_503(house: House):
    """Here, a file is where the folder should be."""
    (house.file.parent / "files").write_text("")
    client = await Client(b"", house.key, "/v1/files/file-" + "0" * 35, "GET").ask(house.app)
    assert (client.status, client.error["code"]) == (503, "files_unavailable")
    assert client.headers["retry-after"] == "1"


async def test_a_project_whose_files_have_no_room_left_is_told_so(tmp_path: Path):
    """Not asked to try again; a file that is deleted makes room."""
    async with (
        running_house(tmp_path, quota=Quota(bytes_max=10)) as house,
        served(house) as port,
        openai.AsyncOpenAI(api_key=house.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client,
    ):
        first = await client.files.create(file=("f", b"x" * 10), purpose="vision")
        with pytest.raises(openai.RateLimitError) as refused:
            await client.files.create(file=("f", b"x"), purpose="vision")
        assert refused.value.code == "storage_quota_exceeded"
        assert refused.value.response.headers["x-should-retry"] == "false"
        await client.files.delete(first.id)
        await client.files.create(file=("f", b"x" * 10), purpose="vision")
