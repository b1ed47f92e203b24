"""A builder waits for the cards that its Serve config was rendered from."""

import shutil
from pathlib import Path

import pytest

from catalog import CardError
from catalog.catalog import CARDS
from catalog.revision import Concern, revision
from deployments.cards import cards_of

NAME = "internvl2-2b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CARDS / f"{NAME}.yaml", tmp_path)
    return tmp_path


def never(_: float) -> None:
    raise AssertionError("there is nothing to wait for")


@pytest.mark.parametrize("rendered_from_these", [True, False], ids=["their revision", "no revision"])
def test_cards_that_are_there_are_taken_at_once(folder: Path, rendered_from_these: bool):
    wanted = revision(folder, [NAME], Concern.ENGINE) if rendered_from_these else ""
    assert [card.served_name for card in cards_of(folder, [NAME], wanted, Concern.ENGINE, sleep=never)] == [NAME]


def test_newer_cards_are_waited_for(folder: Path):
    """The config is there before the volume shows the cards."""
    file = folder / f"{NAME}.yaml"
    old, new = file.read_text(), file.read_text().replace("context_tokens: ", "context_tokens: 1", 1)
    file.write_text(new)
    wanted = revision(folder, [NAME], Concern.ENGINE)
    file.write_text(old)
    (card,) = cards_of(folder, [NAME], wanted, Concern.ENGINE, sleep=lambda _: file.write_text(new) and None)
    assert str(card.context_tokens).startswith("1")


def test_cards_that_never_come_are_an_error(folder: Path):
    with pytest.raises(CardError, match=r"not those that this Serve config was rendered from .* apply cards.yaml"):
        cards_of(folder, [NAME], "0" * 12, Concern.ENGINE, sleep=lambda _: None)
