"""The catalog: a folder of cards, found by any of their names."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from pydantic import ValidationError

from catalog.card import ModelCard

CARDS = Path(__file__).with_name("cards")


class CardError(ValueError):
    """A card cannot be used. The message names the file, the field and the fix."""


class Catalog:
    """Cards by name. Two cards may not share a name. `others` are names of cards that are left out here."""

    def __init__(self, cards: Iterable[ModelCard], others: Iterable[str] = ()) -> None:
        self._by_name: dict[str, ModelCard] = {}
        self._others = frozenset(others)
        self.cards = tuple(cards)
        for card in self.cards:
            for name in card.names:
                if name in self._by_name:
                    raise CardError(f"{card.id}: the name {name!r} is {self._by_name[name].id}'s already; rename one")
                self._by_name[name] = card

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.cards)

    def find(self, name: str) -> ModelCard | None:
        """The card that answers to `name`: an id, a served name or an alias."""
        return self._by_name.get(name)

    def leaves_out(self, name: str) -> bool:
        """Whether `name` is that of a card which was not picked."""
        return name in self._others

    def pick(self, names: Iterable[str]) -> "Catalog":
        """The part of the catalog with these names. Raises `CardError` for a name that no card has."""
        picked = []
        for name in names:
            card = self.find(name)
            if card is None:
                there_are = ", ".join(sorted(card.served_name for card in self.cards))
                raise CardError(f"no card is named {name!r}; there are: {there_are}")
            picked.append(card)
        return Catalog(picked, self._by_name.keys() - {name for card in picked for name in card.names})


def load_card(file: Path) -> ModelCard:
    """Read one card. Raises `CardError`, which names the file, each bad field and what it should be."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise CardError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return ModelCard.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(_fault(detail["loc"], detail["type"], detail["msg"]) for detail in error.errors())
        raise CardError(f"{file}: {faults}") from error


def load_catalog(folder: Path = CARDS) -> Catalog:
    """Read every card (`*.yaml`) of a folder."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise CardError(f"{folder}: holds no cards (*.yaml); name the folder that does")
    return Catalog(load_card(file) for file in files)


def _fault(location: tuple[int | str, ...], kind: str, message: str) -> str:
    field = ".".join(map(str, location)) or "the card"
    if kind == "extra_forbidden":
        return f"{field}: no such field; remove it or correct its name"
    if kind == "missing":
        return f"{field}: missing; add it"
    return f"{field}: {message.removeprefix('Value error, ')}"
