"""What verifying an export finds."""

from pathlib import Path

import pytest

from exports import verify
from exports.errors import Damaged, ExportError, Gap
from exports.target import Folder, open_target
from tests.exports.books import MONDAY, TUESDAY, WEDNESDAY, Books

FIRST, SECOND, THIRD = (f"manifests/{day}.json" for day in (MONDAY, TUESDAY, WEDNESDAY))
SPAN = "day=2026-11-17/000000000005-000000000008"
OBJECTS = (f"entries/{SPAN}.csv", f"usage/csv/{SPAN}.csv", f"usage/parquet/{SPAN}.parquet")


@pytest.fixture
def root(books: Books, tmp_path: Path) -> Path:
    """Three exported days."""
    books.export(Folder(tmp_path / "export"), MONDAY, WEDNESDAY)
    return tmp_path / "export"


def change(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"1", b"2"))


def test_a_whole_export_is_what_was_exported(books: Books, root: Path):
    """Its manifests, oldest first."""
    assert verify(Folder(root)) == books.export(Folder(root), MONDAY, WEDNESDAY)


def test_it_is_the_same_in_s3(books: Books, root: Path, s3: str):
    """With another target, nothing else differs."""
    books.export(open_target(s3), MONDAY, WEDNESDAY)
    assert verify(open_target(s3)) == verify(Folder(root))


@pytest.mark.parametrize(
    ("damage", "key", "error", "named"),
    [
        *((change, key, Damaged, key) for key in OBJECTS),
        *((Path.unlink, key, Damaged, key) for key in OBJECTS),
        (Path.unlink, FIRST, Damaged, SECOND),  # the second says that it is not the first
        (Path.unlink, SECOND, Gap, SECOND),
        (lambda file: file.write_bytes(b"{}"), SECOND, Damaged, SECOND),
        (lambda file: file.write_bytes(file.with_name(Path(FIRST).name).read_bytes()), SECOND, Damaged, SECOND),
        # One byte that is neither in a checksum nor in an amount still breaks the next day's link.
        (lambda file: file.write_bytes(file.read_bytes() + b"\n"), SECOND, Damaged, THIRD),
        (lambda file: file.with_name("notes.txt").touch(), SECOND, Damaged, "manifests/notes.txt"),
    ],
)
def test_damage_is_named(root: Path, damage, key: str, error: type[ExportError], named: str):
    """Any byte changed, anything missing but the newest days."""
    damage(root / key)
    with pytest.raises(error, match=named):
        verify(Folder(root))


def test_a_manifest_cannot_name_a_file_elsewhere(root: Path):
    """An export may come from somebody else."""
    manifest = root / FIRST
    manifest.write_bytes(manifest.read_bytes().replace(b"entries/day=2026-11-16/", b"entries/../../secrets/"))
    with pytest.raises(Damaged, match=FIRST):
        verify(Folder(root))


def test_nothing_is_not_an_export(tmp_path: Path):
    """A mistyped address is told."""
    with pytest.raises(Damaged, match="check the address"):
        verify(Folder(tmp_path))
