from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import boto3
import pytest
from moto.server import ThreadedMotoServer

from accounting.sqlite import SqliteStore
from exports.target import Folder
from tests.exports.books import Books, Clock, running_books, until_thursday


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """A ledger of three closed days, on Thursday."""
    with running_books(tmp_path / "full") as books:
        yield until_thursday(books)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SqliteStore]:
    """A ledger of its own, without a line."""
    with closing(SqliteStore(tmp_path / "empty" / "ledger.db", Clock())) as store:
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "export")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address in a new bucket, on a real S3 API server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"finance-{token_hex(8)}"  # servers of one process share their buckets
    boto3.client("s3").create_bucket(Bucket=bucket)
    yield f"s3://{bucket}/ledgers/one"
    server.stop()
