"""A card names every special token of its weights; see also `tests/models/test_markers.py`, of real tokenizers."""

import json
from pathlib import Path
from typing import Any

import pytest

from catalog import CardError, ModelCard, load_catalog
from deployments.engines.markers import check_markers, hub_folder, special_tokens
from tests.gateway.house import CARD

OF_A_HUB = next(card for card in load_catalog() if card.source.hub)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (
            "tokenizer.json",
            {"added_tokens": [{"content": "<odd>", "special": True}, {"content": "\n", "special": False}]},
        ),
        ("tokenizer_config.json", {"added_tokens_decoder": {"7": {"content": "<odd>", "special": True}}}),
        ("tokenizer_config.json", {"image_token": "<odd>", "unk_token": None, "add_bos_token": True}),
        ("tokenizer_config.json", {"extra_special_tokens": {"odd_token": "<odd>"}}),
        ("special_tokens_map.json", {"bos_token": {"content": "<odd>"}}),
        ("special_tokens_map.json", {"additional_special_tokens": ["<odd>"]}),
    ],
)
def test_special_tokens_are_found_wherever_a_tokenizer_says_them(tmp_path: Path, file: str, content: dict[str, Any]):
    (tmp_path / file).write_text(json.dumps(content))
    assert special_tokens(tmp_path) == {"<odd>"}


def test_a_model_whose_card_forgets_a_token_does_not_start(tmp_path: Path):
    """The error says what to add; then it starts."""
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "<|im_start|>", "eos_token": "<odd>"}')
    with pytest.raises(CardError, match=r"add to chat\.escapes: '<odd>'"):
        check_markers(CARD, tmp_path)
    check_markers(_with_escapes(CARD, "<odd>"), tmp_path)


@pytest.mark.parametrize(
    ("environment", "cache"),
    [({"HF_HUB_CACHE": "{}"}, ""), ({"HF_HOME": "{}"}, "hub"), ({"XDG_CACHE_HOME": "{}"}, "huggingface/hub")],
)
def test_files_of_a_hub_are_where_the_engine_has_put_them(tmp_path: Path, environment: dict[str, str], cache: str):
    name = f"models--{str(OF_A_HUB.source.hub).replace('/', '--')}/snapshots/{OF_A_HUB.source.revision}"
    said = {variable: value.format(tmp_path) for variable, value in environment.items()}
    assert hub_folder(OF_A_HUB, said) is None
    (tmp_path / cache / name).mkdir(parents=True)
    assert hub_folder(OF_A_HUB, said) == tmp_path / cache / name


def _with_escapes(card: ModelCard, *escapes: str) -> ModelCard:
    return card.model_copy(update={"chat": card.chat.model_copy(update={"escapes": escapes})})
