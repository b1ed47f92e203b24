"""Weights in S3: a real S3 API server on loopback."""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer

from deployments.engines import s3_weights
from deployments.engines.s3_weights import WeightsError, copied

URL = "s3://models/tiny"
WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def bucket(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"))  # what a test before left
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    server.stop()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(s3_weights, "PART_BYTES", 1000)


def put(bucket: Any, **objects: bytes) -> None:
    for name, content in objects.items():
        bucket.put_object(Bucket="models", Key=f"tiny/{name}", Body=content)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_below_the_url_is_copied_and_nothing_beside_it(bucket, tmp_path):
    put(bucket, **{"config.json": b"{}", "sub/weights": WEIGHTS, "empty": b""})
    bucket.put_object(Bucket="models", Key="tiny-other/config.json", Body=b"no")
    assert files(copied(URL, tmp_path)) == {"config.json": b"{}", "sub/weights": WEIGHTS, "empty": b""}


def test_a_second_replica_finds_the_copy(bucket, tmp_path, monkeypatch):
    put(bucket, weights=WEIGHTS)
    folder = copied(URL, tmp_path)
    monkeypatch.setattr(s3_weights, "_copy", lambda *_: pytest.fail("copied again"))
    assert copied(URL, tmp_path) == folder


def test_changed_weights_are_another_copy(bucket, tmp_path):
    put(bucket, weights=WEIGHTS)
    before = copied(URL, tmp_path)
    put(bucket, weights=WEIGHTS[::-1])
    assert files(copied(URL, tmp_path)) == {"weights": WEIGHTS[::-1]}
    assert files(before) == {"weights": WEIGHTS}


def test_a_start_that_was_killed_is_gone_on_with(bucket, tmp_path, monkeypatch):
    """Only the parts that are missing are fetched again."""
    put(bucket, weights=WEIGHTS, config=b"{}")
    fetched: list[int] = []
    copy_part = s3_weights._copy_part

    def killed_at_the_sixth(client: Any, bucket_: str, file: Path, item: Any, number: int) -> None:
        if len(fetched) == 5:
            raise KeyboardInterrupt
        copy_part(client, bucket_, file, item, number)
        fetched.append(number)

    monkeypatch.setattr(s3_weights, "PARTS_AT_ONCE", 1)
    monkeypatch.setattr(s3_weights, "_copy_part", killed_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        copied(URL, tmp_path)
    again: list[int] = []
    monkeypatch.setattr(s3_weights, "_copy_part", lambda *part: (again.append(part[4]), copy_part(*part)))
    assert files(copied(URL, tmp_path)) == {"weights": WEIGHTS, "config": b"{}"}
    assert len(again) == len(WEIGHTS) // 1000 + 2 - 5


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_what_is_not_what_the_store_says_is_refused_and_copied_anew(bucket, tmp_path, monkeypatch, checksum: str):
    sha256 = b64encode(hashlib.sha256(WEIGHTS).digest()).decode()
    digest = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": sha256} if checksum == "sha256" else {}
    bucket.put_object(Bucket="models", Key="tiny/weights", Body=WEIGHTS, **digest)
    fsync = s3_weights.os.fsync
    monkeypatch.setattr(s3_weights.os, "fsync", lambda descriptor: s3_weights.os.pwrite(descriptor, b"damaged", 3))
    with pytest.raises(WeightsError, match=f"{checksum}"):
        copied(URL, tmp_path)
    monkeypatch.setattr(s3_weights.os, "fsync", fsync)
    assert files(copied(URL, tmp_path)) == {"weights": WEIGHTS}


def test_an_empty_prefix_is_refused(bucket, tmp_path):
    with pytest.raises(WeightsError, match=r"source\.s3"):
        copied("s3://models/none", tmp_path)


def test_a_name_that_leads_out_of_the_folder_is_refused(bucket, tmp_path):
    bucket.put_object(Bucket="models", Key="evil/../../x", Body=b"")
    with pytest.raises(WeightsError, match="leads out"):
        copied("s3://models/evil", tmp_path)
