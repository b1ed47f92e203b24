"""The schema's versions: one numbered SQL file a step and dialect, applied in order."""

from collections.abc import Iterator
from pathlib import Path

from accounting.store import StoreError

FOLDER = Path(__file__).parent.parent / "schema"
VERSION = 4


def migrations(dialect: str, version: int, name: str) -> Iterator[tuple[int, str]]:
    """The steps from `version` to `VERSION`, as (number, script). Raises `StoreError` for a ledger of a newer vlmfleet."""
    if version > VERSION:
        raise StoreError(f"{name}: written by a newer vlmfleet (schema {version}, here {VERSION}); upgrade")
    for number in range(version + 1, VERSION + 1):
        file = FOLDER / dialect / f"{number}.sql"
        if file.exists():  # PostgreSQL begins with version 2
            yield number, file.read_text(encoding="utf-8")
