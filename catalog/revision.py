"""Which state of the cards a Serve config was rendered from: Serve replaces what changed arguments name, and nothing else."""

import hashlib
import json
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from catalog.card import ModelCard

DIGITS = 12
# What people read and pay; no engine is started anew for it.
TOLD = frozenset({"aliases", "title", "about", "released", "updated", "shutdown", "price", "benchmarks", "page"})


class Concern(Enum):
    """Who reads a card, by the fields that it reads."""

    GATEWAY = frozenset(ModelCard.model_fields)
    ENGINE = frozenset(ModelCard.model_fields) - TOLD


def revision(folder: Path, names: Collection[str], concern: Concern) -> str:
    """Hex digits for what the files of these cards say, as far as it is of `concern`.

    Comments do not count, nor do files that are no cards, which `load_catalog` complains of.
    """
    said = {
        card["served_name"]: {field: value for field, value in card.items() if field in concern.value}
        for card in _cards(folder)
        if card.get("served_name") in names
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]


def _cards(folder: Path) -> Iterator[dict[str, Any]]:
    for file in folder.glob("*.yaml"):
        try:
            card = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        if isinstance(card, dict):
            yield card
