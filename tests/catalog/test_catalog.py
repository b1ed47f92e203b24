from pathlib import Path

import pytest

from catalog import CardError, Catalog, ModelCard, load_catalog
from catalog.catalog import CARDS, load_card


@pytest.fixture
def demo() -> ModelCard:
    return load_card(CARDS / "demo-qwen2-vl.yaml")


@pytest.fixture
def other(demo: ModelCard) -> ModelCard:
    """A second model that shares no name with the first."""
    return demo.model_copy(update={"id": "vlmfleet/other", "served_name": "other", "aliases": ()})


@pytest.mark.parametrize("name", ["vlmfleet/demo-qwen2-vl", "demo-qwen2-vl", "demo"])
def test_a_card_is_found_by_any_of_its_names(demo: ModelCard, other: ModelCard, name: str):
    """An id, a served name and an alias lead to the same card."""
    assert Catalog([other, demo]).find(name) is demo


@pytest.mark.parametrize("name", ["", "Demo", "demo-qwen2", "gpt-4o"])
def test_another_name_finds_nothing(demo: ModelCard, name: str):
    """Names are exact."""
    assert Catalog([demo]).find(name) is None


@pytest.mark.parametrize("taken", ["vlmfleet/demo-qwen2-vl", "demo-qwen2-vl", "demo"])
def test_two_cards_may_not_share_a_name(demo: ModelCard, other: ModelCard, taken: str):
    """The message names both cards and the name."""
    other = other.model_copy(update={"aliases": (taken,)})
    message = f"vlmfleet/other: the name '{taken}' is vlmfleet/demo-qwen2-vl's already; rename one"
    with pytest.raises(CardError, match=message):
        Catalog([demo, other])


def test_a_part_is_picked_by_name_and_in_that_order(demo: ModelCard, other: ModelCard):
    """A fleet serves the cards that it names."""
    catalog = Catalog([demo, other])
    assert list(catalog.pick(["other", "demo"])) == [other, demo]
    assert catalog.pick(["other"]).find("demo") is None


@pytest.mark.parametrize("name", ["vlmfleet/demo-qwen2-vl", "demo-qwen2-vl", "demo"])
def test_a_part_knows_what_it_leaves_out(demo: ModelCard, other: ModelCard, name: str):
    """A model that could be served here is told from one that nobody knows."""
    part = Catalog([demo, other]).pick(["other"])
    assert part.leaves_out(name)
    assert not part.leaves_out("other")
    assert not part.leaves_out("gpt-4o")


def test_picking_an_unknown_name_says_which_there_are(demo: ModelCard, other: ModelCard):
    """The message is enough to correct the name."""
    message = "no card is named 'demmo'; there are: demo-qwen2-vl, other"
    with pytest.raises(CardError, match=message):
        Catalog([other, demo]).pick(["demmo"])


def test_picking_a_card_twice_is_refused(demo: ModelCard):
    """Two names of one model do not make two models."""
    with pytest.raises(CardError, match="rename one"):
        Catalog([demo]).pick(["demo", "demo-qwen2-vl"])


def test_a_folder_without_cards_is_refused(tmp_path: Path):
    """An empty catalog is a wrong path, not a fleet without models."""
    with pytest.raises(CardError, match="holds no cards"):
        load_catalog(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title: [", "not YAML: while parsing a flow node"),
        ("", "the card: Input should be a valid dictionary"),
        ("- title", "the card: Input should be a valid dictionary"),
    ],
)
def test_a_file_that_is_no_card_is_named(tmp_path: Path, text: str, fault: str):
    """One bad file stops the whole catalog, and is named."""
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(CardError) as refusal:
        load_catalog(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {fault}")
