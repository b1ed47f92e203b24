"""A revision changes exactly when what cards say does."""

import shutil
from pathlib import Path

import pytest

from catalog.catalog import CARDS
from catalog.revision import Concern, revision

NAMES = ["qwen2-vl-2b-instruct", "internvl2-2b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in [*NAMES, "moondream2"]:
        shutil.copy(CARDS / f"{name}.yaml", tmp_path)
    return tmp_path


def revisions(folder: Path) -> dict[Concern, str]:
    return {concern: revision(folder, NAMES, concern) for concern in Concern}


def edit(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / f"{name}.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "concerned"),
    [
        ("internvl2-2b", "title:", "# a comment\ntitle:", set()),
        ("moondream2", "context_tokens: ", "context_tokens: 1", set()),
        ("internvl2-2b", "title: ", "title: New ", {Concern.GATEWAY}),
        ("internvl2-2b", "price:\n  version: 1", "price:\n  version: 2", {Concern.GATEWAY}),
        ("internvl2-2b", "context_tokens: ", "context_tokens: 1", {Concern.GATEWAY, Concern.ENGINE}),
    ],
    ids=["a comment", "another card", "a title", "a price", "a limit"],
)
def test_whom_a_change_concerns(folder: Path, name: str, old: str, new: str, concerned: set[Concern]):
    before = revisions(folder)
    edit(folder, name, old, new)
    after = revisions(folder)
    assert {concern for concern in Concern if before[concern] != after[concern]} == concerned


def test_a_card_less_is_another_revision(folder: Path):
    assert revision(folder, NAMES, Concern.ENGINE) != revision(folder, NAMES[:1], Concern.ENGINE)


def test_a_file_that_is_no_card_is_left_to_others(folder: Path):
    before = revisions(folder)
    (folder / "broken.yaml").write_text("a: [")
    (folder / "list.yaml").write_text("- 1")
    assert revisions(folder) == before
