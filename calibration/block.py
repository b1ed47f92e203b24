"""The `price:` block of a card's file. Everything around it, comments included, stays as it is. Pure."""

import re

import yaml

from catalog.card import CardPrice
from catalog.catalog import CardError

# From its first line until the next one that is not indented.
BLOCK = re.compile(r"^price:[ \t]*\n(?:(?:[ \t]+.*)?\n)*", re.MULTILINE)
WIDTH = 110


def block(price: CardPrice) -> str:
    """As it stands in a card."""
    data = price.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return yaml.safe_dump({"price": data}, sort_keys=False, width=WIDTH, allow_unicode=True)


def with_price(text: str, price: CardPrice) -> str:
    """A card's text with another price. Raises `CardError` unless there is exactly one block to replace."""
    found = BLOCK.findall(text)
    if len(found) != 1:
        raise CardError(f"the card's file has {len(found)} blocks `price:` that begin a line, and needs one to replace")
    return BLOCK.sub(lambda _: block(price), text)
