from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import boto3
import pytest
from moto.server import ThreadedMotoServer

from deployments.files.objects import Objects, open_objects


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A real S3 API server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address in a new bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"files-{token_hex(8)}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/fleets/one"


@pytest.fixture(params=["folder", "s3", "root of a bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of each kind."""
    match request.param:
        case "folder":
            return str(tmp_path / "not" / "there" / "yet")
        case "s3":
            return request.getfixturevalue("s3")
    return "s3://" + request.getfixturevalue("s3").split("/")[2]


@pytest.fixture
def objects(address: str) -> Objects:
    return open_objects(address)
