"""Who may read what lies on a disk."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.private import opener, private_folder, tighten


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Nothing here relies on it."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_its_owner(tmp_path: Path):
    """And each that is missing above it."""
    private_folder(tmp_path / "state" / "files")
    assert mode(tmp_path / "state") == mode(tmp_path / "state" / "files") == 0o700


def test_a_folder_that_was_open_is_tightened(tmp_path: Path):
    """But what is above it is not ours."""
    (tmp_path / "home" / "state").mkdir(parents=True)
    private_folder(tmp_path / "home" / "state")
    assert mode(tmp_path / "home" / "state") == 0o700
    assert mode(tmp_path / "home") == 0o777


@pytest.mark.parametrize("how", ["w", "x", "a", "wb"])
def test_a_file_is_made_for_its_owner(tmp_path: Path, how: str):
    with open(tmp_path / "log", how, opener=opener):
        pass
    assert mode(tmp_path / "log") == 0o600


@pytest.mark.parametrize(
    ("before", "after"), [(0o666, 0o600), (0o644, 0o600), (0o600, 0o600), (0o755, 0o700), (0o400, 0o400)]
)
def test_others_lose_what_they_had(tmp_path: Path, before: int, after: int):
    """The owner keeps what the owner had."""
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(before)
    tighten([tmp_path / "file"])
    assert mode(tmp_path / "file") == after


def test_a_folder_that_all_share_is_left(tmp_path: Path):
    """As `/tmp` is."""
    tmp_path.chmod(0o1777)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o1777


def test_what_a_link_names_is_left(tmp_path: Path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    tighten([tmp_path / "link"])
    assert mode(tmp_path / "elsewhere") == 0o666
