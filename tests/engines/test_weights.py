"""Weights from the checkout, a hub and S3."""

import boto3
import pytest
from moto.server import ThreadedMotoServer

from catalog.card import Source
from deployments.engines.weights import WeightsError, locate


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on a real S3 API server on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="models")
    yield client
    server.stop()


def test_a_path_starts_at_the_checkout(tmp_path):
    """Weights in the repository are used where they are."""
    (tmp_path / "demo").mkdir()
    assert locate(Source(path="demo"), tmp_path, tmp_path / "cache") == tmp_path / "demo"


def test_a_path_without_weights_is_refused(tmp_path):
    """The message names the field to correct."""
    with pytest.raises(WeightsError, match=r"source\.path"):
        locate(Source(path="nowhere"), tmp_path, tmp_path)


def test_a_hub_id_is_left_to_the_engine(tmp_path):
    """Engines resolve hub ids themselves, with the card's revision."""
    assert locate(Source(hub="a/b", revision="c0ffee"), tmp_path, tmp_path) == "a/b"


def test_s3_is_copied_once(bucket, tmp_path):
    """Everything below the URL is on the node's disk, and a second replica finds it there."""
    bucket.put_object(Bucket="models", Key="tiny/config.json", Body=b"{}")
    bucket.put_object(Bucket="models", Key="tiny/sub/weights", Body=b"w")
    bucket.put_object(Bucket="models", Key="tiny-other/config.json", Body=b"no")
    folder = locate(Source(s3="s3://models/tiny"), tmp_path, tmp_path / "cache")
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()) == [
        "config.json",
        "sub/weights",
    ]
    bucket.delete_object(Bucket="models", Key="tiny/config.json")
    assert locate(Source(s3="s3://models/tiny"), tmp_path, tmp_path / "cache") == folder


def test_an_empty_prefix_is_refused(bucket, tmp_path):
    """Nothing there is an error, not an empty model."""
    with pytest.raises(WeightsError, match="nothing below"):
        locate(Source(s3="s3://models/none"), tmp_path, tmp_path)


def test_a_name_that_leads_out_of_the_folder_is_refused(bucket, tmp_path):
    """A bucket cannot write where it likes."""
    bucket.put_object(Bucket="models", Key="evil/../../x", Body=b"")
    with pytest.raises(WeightsError, match="leads out"):
        locate(Source(s3="s3://models/evil"), tmp_path, tmp_path)
