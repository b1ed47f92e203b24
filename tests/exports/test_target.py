"""Folders and buckets: one suite for both."""

from pathlib import Path

import boto3
import pytest

from exports.errors import Differs, TargetFailed
from exports.target import Folder, Target, open_target, put


@pytest.fixture(params=["folder", "s3", "root of a bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    match request.param:
        case "folder":
            return open_target(str(tmp_path / "not" / "there" / "yet"))
        case "s3":
            return open_target(request.getfixturevalue("s3"))
    return open_target("s3://" + request.getfixturevalue("s3").split("/")[2])


def test_what_is_written_is_read(target: Target):
    """And what was not is nothing."""
    target.write("usage/csv/day=2026-11-16/1-2.csv", b"a")
    assert target.read("usage/csv/day=2026-11-16/1-2.csv") == b"a"
    assert target.read("usage/csv/day=2026-11-16/3-4.csv") is None


def test_keys_are_listed_in_order(target: Target):
    """Those below a prefix, and no others."""
    assert target.keys("manifests/") == []
    for key in ("manifests/2", "manifests/1", "manifests-2/1", "entries/1"):
        target.write(key, b"")
    assert target.keys("manifests/") == ["manifests/1", "manifests/2"]


def test_an_object_is_written_once(target: Target):
    """An identical one is left alone, a different one stays and is named."""
    put(target, "entries/1.csv", b"a")
    put(target, "entries/1.csv", b"a")
    with pytest.raises(Differs, match=r"entries/1\.csv"):
        put(target, "entries/1.csv", b"b")
    assert target.read("entries/1.csv") == b"a"


def test_an_unfinished_file_is_not_listed(tmp_path: Path):
    """A writer that was killed leaves a hidden file at most."""
    folder = Folder(tmp_path)
    folder.write("manifests/1", b"")
    (tmp_path / "manifests" / ".2.99").touch()
    assert folder.keys("manifests/") == ["manifests/1"]


def test_the_console_s_folders_are_no_objects(s3: str):
    """S3's web console marks a folder with an empty object."""
    boto3.client("s3").put_object(Bucket=s3.split("/")[2], Key="ledgers/one/manifests/")
    assert open_target(s3).keys("manifests/") == []


@pytest.mark.parametrize("use", [lambda target: target.read("a/b"), lambda target: target.write("a/b", b"")])
def test_a_folder_that_does_not_work_is_named(tmp_path: Path, use):
    """Here, a file is in its place."""
    (tmp_path / "a").touch()
    with pytest.raises(TargetFailed, match="a/b"):
        use(Folder(tmp_path))


@pytest.mark.parametrize(
    "use",
    [lambda target: target.read("a/b"), lambda target: target.write("a/b", b""), lambda target: target.keys("a/")],
)
def test_a_bucket_that_does_not_work_is_named(s3: str, use):
    """Here, there is none."""
    with pytest.raises(TargetFailed, match=r"a/.*check the bucket"):
        use(open_target("s3://nowhere/x"))
