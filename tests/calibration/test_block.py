from decimal import Decimal

import pytest
import yaml

from calibration.block import block, with_price
from calibration.price import Rented, Terms, measured_price
from catalog.card import CardPrice
from catalog.catalog import CARDS, CardError, load_card

FILES = sorted(CARDS.glob("*.yaml"))


def measured(before: CardPrice) -> CardPrice:
    rented = Rented("NVIDIA H200", Decimal("4.59"))
    return measured_price(before, rented, 12.3456, 1, Terms(), source="a: b, 'c'", date="2026-11-21")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_card_changes_in_nothing_but_its_price(file, tmp_path):
    """Every card of the catalog, and what is read again is what was meant."""
    card = load_card(file)
    price = measured(card.price)
    changed = tmp_path / file.name
    changed.write_text(with_price(file.read_text(encoding="utf-8"), price), encoding="utf-8")
    assert load_card(changed) == card.model_copy(update={"price": price})


def test_what_stands_around_the_block_stays_as_it_is():
    text = 'id: a  # kept\nprice:\n  version: 1\n\n  state: estimate\n# kept too\npage: "x"\n'
    price = measured(load_card(FILES[0]).price)
    assert with_price(text, price) == f'id: a  # kept\n{block(price)}# kept too\npage: "x"\n'


@pytest.mark.parametrize("text", ["id: a\n", "page:\n  price:\n    version: 1\n", "price:\n  a: 1\nprice:\n  a: 2\n"])
def test_a_file_without_one_block_is_left_alone(text: str):
    with pytest.raises(CardError, match="blocks `price:`"):
        with_price(text, measured(load_card(FILES[0]).price))


def test_amounts_are_written_as_text():
    """A YAML number would be a float."""
    data = yaml.safe_load(block(measured(load_card(FILES[0]).price)))
    assert isinstance(data["price"]["usd_per_1k_images"], str)
    assert data["price"]["basis"]["images_per_s"] == "12.345"
