import asyncio
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from deployments.files.file import File, FileMissing, Owner, Purpose
from deployments.files.objects import open_objects
from deployments.files.store import FileStore
from deployments.gateway.errors import BadImage
from deployments.gateway.media.fault import Fault
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.files import NoFiles
from deployments.gateway.media.media import Media
from deployments.gateway.media.s3 import Buckets
from deployments.gateway.media.source import Sources, Wanted
from deployments.gateway.media.threads import Threads
from deployments.gateway.request import ChatRequest
from tests.gateway.house import CARD
from tests.gateway.media.samples import data_url, image

THREADS = Threads(1, "test")
OWNER, STRANGER = Owner("org", "project"), Owner("org", "other")
WANTED = Wanted(("image/",), "an image", 1000)
FAILED, TOO_LARGE, INVALID = "failed_to_download_image", "image_file_too_large", "invalid_image_url"


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    """A real S3 API on loopback, with one bucket that may be named and one that may not."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        for name in ("open", "closed"):
            client.create_bucket(Bucket=name)
            client.put_object(Bucket=name, Key="a/b.png", Body=b"x" * 1000)
        client.put_object(Bucket="open", Key="large", Body=b"x" * 1001)
        yield
    server.stop()


def sources(*buckets: str) -> Sources:
    return Sources(Fetcher(FetchLimits()), Buckets(buckets), NoFiles(), THREADS)


async def test_an_object_is_read_from_a_listed_bucket(bucket: None):
    """Whatever its key."""
    assert await sources("open").read("s3://open/a/b.png", OWNER, WANTED) == b"x" * 1000


@pytest.mark.parametrize(
    ("url", "buckets", "code"),
    [
        ("s3://closed/a/b.png", ("open",), FAILED),
        ("s3://open/none", ("open",), FAILED),
        ("s3://nowhere/a", ("open", "nowhere"), FAILED),
        ("s3://open/", ("open",), FAILED),
        ("s3://open", ("open",), FAILED),
        ("s3://open/large", ("open",), TOO_LARGE),
        ("s3://open/a/b.png", (), INVALID),
        ("S3://open/a/b.png", ("open",), INVALID),
    ],
)
async def test_no_other_object_is_read(bucket: None, url: str, buckets: tuple[str, ...], code: str):
    """A bucket that is not listed looks like an object that is not there; without any the scheme is not taken."""
    with pytest.raises(Fault) as refused:
        await sources(*buckets).read(url, OWNER, WANTED)
    assert refused.value.code == code


def showing(file_id: str) -> ChatRequest:
    """The same file in both forms."""
    parts = [
        {"type": "file", "file": {"file_id": file_id}},
        {"type": "image_url", "image_url": {"url": file_id, "detail": "low"}},
    ]
    return ChatRequest(model="demo", messages=[{"role": "user", "content": parts}])


async def upload(store: FileStore, data: bytes, purpose: Purpose = Purpose.VISION) -> str:
    async with store.draft(OWNER) as draft:
        await draft.write(data)
        return (await draft.keep("a.png", purpose)).id


async def test_an_uploaded_image_is_shown_by_its_id(tmp_path: Path):
    """In a file part, or in an image's place."""
    store = FileStore(open_objects(str(tmp_path)), lambda: 1)
    file_id = await upload(store, image())
    both = await Media(Fetcher(FetchLimits()), files=store).load(showing(file_id), CARD, OWNER)
    assert [picture.data_url for picture in both] == [data_url(image())] * 2


async def test_what_is_not_the_projects_own_is_not_there(tmp_path: Path):
    """Another project's file, one that was never there, and one that was uploaded for something else."""
    store = FileStore(open_objects(str(tmp_path)), lambda: 1)
    media = Media(Fetcher(FetchLimits()), files=store)
    mine, batch = await upload(store, image()), await upload(store, b"{}", Purpose.BATCH)
    for file_id, owner in ((mine, STRANGER), ("file-" + "0" * 35, OWNER), ("file-none", OWNER), (batch, OWNER)):
        with pytest.raises(BadImage) as refused:
            await media.load(showing(file_id), CARD, owner)
        assert refused.value.code == "image_file_not_found"


async def test_a_file_is_measured_before_it_is_read(tmp_path: Path):
    """Uploads may be larger than what a model is shown."""
    store = FileStore(open_objects(str(tmp_path)), lambda: 1)
    file_id = await upload(store, b"x" * 1001)
    with pytest.raises(Fault) as refused:
        await Sources(Fetcher(FetchLimits()), Buckets(), store, THREADS).read(file_id, OWNER, WANTED)
    assert refused.value.code == TOO_LARGE


async def test_without_files_no_id_is_known():
    """A gateway that keeps none."""
    with pytest.raises(Fault) as refused:
        await sources().read("file-" + "0" * 35, OWNER, WANTED)
    assert refused.value.code == "image_file_not_found"


class LateFiles(NoFiles):
    """Finds out that a file is missing when it is told to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def find(self, owner: Owner, file_id: str) -> File:
        await self.told.wait()
        raise FileMissing


async def test_one_part_at_fault_stops_the_others():
    """What they would have downloaded is not wanted any more."""
    files, hung_up = LateFiles(), asyncio.Event()

    async def site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        files.told.set()
        await reader.read()  # until the other side hangs up
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(site, "127.0.0.1", 0) as server:
        fetcher = Fetcher(FetchLimits(allowed_networks=("127.0.0.0/8",)))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
        parts = [{"type": "image_url", "image_url": {"url": sent}} for sent in (url, "file-none")]
        chat = ChatRequest(model="demo", messages=[{"role": "user", "content": parts}])
        with pytest.raises(BadImage, match="no such file"):
            await Media(fetcher, files=files).load(chat, CARD, OWNER)
        await asyncio.wait_for(hung_up.wait(), 5)
        await fetcher.close()
