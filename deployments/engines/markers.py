"""Whether a card names every special token of its weights' tokenizer: what it does not name, anybody could write into a chat.

Read from the tokenizer's own files, so it is known of every model that starts here, whoever wrote its card.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog import CardError, ModelCard
from catalog.markers import as_words
from deployments.log import logger_for

logger = logger_for(__name__)


def check_markers(card: ModelCard, folder: Path) -> None:
    """Raises `CardError`, which says what to add to the card."""
    unnamed = unnamed_tokens(card, folder)
    if unnamed:
        raise CardError(
            f"{card.served_name}: the tokenizer has special tokens that the card does not name, so a caller could forge a turn "
            f"or move an image with them; add to chat.escapes: {', '.join(map(repr, unnamed))}"
        )


def unnamed_tokens(card: ModelCard, folder: Path) -> list[str]:
    """Special tokens that would stay what they are in what people write."""
    return sorted(token for token in special_tokens(folder) if token.strip() and as_words(token, card.markers) == token)


def special_tokens(folder: Path) -> frozenset[str]:
    """As every kind of tokenizer writes them down, but for those that are in its code alone."""
    return frozenset((*_of_tokenizer(folder), *_of_config(folder), *_of_map(folder)))


def hub_folder(card: ModelCard, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where the engine has put the hub's files, None if that is not where they use to be."""
    said = {**environment, **card.engine.environment}
    home = Path(said.get("HF_HOME") or Path(said.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(said.get("HF_HUB_CACHE") or home / "hub").expanduser()
    folder = cache / f"models--{str(card.source.hub).replace('/', '--')}" / "snapshots" / str(card.source.revision)
    if folder.is_dir():
        return folder
    logger.warning("%s: its tokenizer is not in %s, so its markers were not checked", card.served_name, folder)
    return None


def _of_tokenizer(folder: Path) -> Iterator[str]:
    for token in _read(folder / "tokenizer.json").get("added_tokens", ()):
        if token["special"]:
            yield token["content"]


def _of_config(folder: Path) -> Iterator[str]:
    config = _read(folder / "tokenizer_config.json")
    for token in config.get("added_tokens_decoder", {}).values():
        if token.get("special"):
            yield token["content"]
    yield from _named(config)


def _of_map(folder: Path) -> Iterator[str]:
    return _named(_read(folder / "special_tokens_map.json"))


def _named(settings: dict[str, Any]) -> Iterator[str]:
    """`bos_token` and the like, each a text or what is said about one, and the lists of others."""
    for name, value in settings.items():
        if name.endswith("_token"):
            yield from _texts([value])
        elif name in ("additional_special_tokens", "extra_special_tokens"):
            yield from _texts(value.values() if isinstance(value, dict) else value or ())


def _texts(tokens: Any) -> Iterator[str]:
    for token in tokens:
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            yield text


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}
