"""The cards that are shipped."""

import json
from pathlib import Path

import pytest

from catalog import ModelCard, load_catalog
from catalog.card import TOOL_PARAMETERS
from catalog.catalog import CARDS

CATALOG = load_catalog()
MODELS = {
    "demo-internvl2",
    "demo-qwen2-vl",
    "internvl2-2b",
    "llava-1.5-7b-hf",
    "llava-1.5-13b-hf",
    "moondream2",
    "moondream3-preview",
    "paligemma-3b-mix-224",
    "paligemma-3b-mix-448",
    "paligemma-3b-pt-896",
    "paligemma2-3b-mix-448",
    "paligemma2-10b-mix-448",
    "paligemma2-28b-mix-448",
    "qwen-vl-chat",
    "qwen2-vl-2b-instruct",
    "qwen2-vl-7b-instruct",
    "qwen2.5-vl-3b-instruct",
    "qwen2.5-vl-7b-instruct",
    "smolvlm2-2.2b-instruct",
    "smolvlm2-500m-video-instruct",
    "smolvlm2-256m-video-instruct",
}
# No commit of these repositories was at hand; their cards say so.
UNPINNED = {"paligemma-3b-pt-896", "paligemma2-3b-mix-448", "paligemma2-28b-mix-448"}
DEMOS = [card for card in CATALOG if card.source.path]
HUB = [card for card in CATALOG if card.source.hub]
# What a chat template adds at most, and the shortest question.
TEMPLATE_TOKENS = 64

each_card = pytest.mark.parametrize("card", CATALOG.cards, ids=lambda card: card.served_name)
each_demo = pytest.mark.parametrize("card", DEMOS, ids=lambda card: card.served_name)
each_hub_card = pytest.mark.parametrize("card", HUB, ids=lambda card: card.served_name)


def test_the_catalog_holds_every_model_that_is_promised():
    """A model more is a line here, beside its card."""
    assert {card.served_name for card in CATALOG} == MODELS


@each_card
def test_a_cards_file_has_the_models_name(card: ModelCard):
    """So it is found without opening any."""
    assert (CARDS / f"{card.served_name}.yaml").exists()


@each_hub_card
def test_a_model_is_served_under_the_name_that_users_know(card: ModelCard):
    """The last part of its hub id in lower case, and the hub id itself."""
    assert card.id == card.source.hub
    assert card.served_name == card.id.rpartition("/")[2].lower()
    assert card.served_name.removesuffix("-hf") in card.names


@each_hub_card
def test_weights_are_pinned(card: ModelCard):
    """To a commit, or to a tag where the publisher makes one for each revision."""
    assert (card.source.revision == "main") == (card.served_name in UNPINNED)


@each_card
def test_the_largest_image_fits_the_context(card: ModelCard):
    """With an answer of the default length."""
    needed = card.vision.vision_tokens_max + card.limits.output_tokens_default + TEMPLATE_TOKENS
    assert needed <= card.context_tokens


@each_hub_card
def test_a_page_names_models_that_are_there(card: ModelCard):
    """And never its own."""
    assert card.page is not None
    assert all(CATALOG.find(name) not in (None, card) for name in card.page.related)


@each_hub_card
def test_a_rate_of_rent_says_where_it_is_from(card: ModelCard):
    """A figure without a source is a guess."""
    assert card.accelerators.source
    assert all(benchmark.source for benchmark in card.benchmarks)


def test_two_licences_forbid_a_paid_api():
    """The others allow it, some under conditions."""
    forbidden = {card.served_name for card in CATALOG if card.licence.hosted_api == "no"}
    assert forbidden == {"qwen2.5-vl-3b-instruct", "moondream3-preview"}


@each_demo
def test_the_vocabulary_of_a_demo_is_that_of_its_weights(card: ModelCard):
    """And no token of its tokenizer is beyond."""
    folder = Path(card.source.path)
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config") or config["llm_config"]
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = [*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])]
    assert card.vocabulary_tokens == text["vocab_size"] > max(ids)


@each_card
def test_a_cards_own_stops_are_in_its_vocabulary(card: ModelCard):
    assert all(token_id < card.vocabulary_tokens for token_id in card.chat.stop_token_ids)


@each_card
def test_tools_are_promised_where_they_work(card: ModelCard):
    """No card's engine is started with a tool parser yet."""
    assert not TOOL_PARAMETERS & set(card.supported_parameters)
