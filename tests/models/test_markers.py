"""No text that people write makes a special token: with the real tokenizers and templates, in their engines' environments."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.markers import as_words
from deployments.engines.markers import check_markers
from deployments.gateway.chat_form import formed
from deployments.gateway.prompt import prompt_bytes
from tests.marking import written
from tests.models.families import Family, families
from tests.models.tokens import Tokens, tokens

OF_THE_DEMO = [family for family in families() if family.cards[0].source.path]
OF_THE_HUB = [family for family in families() if not family.cards[0].source.path]
SENTINELS = ["<IMAGE_TOKEN>", "<IMG_CONTEXT>"]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.fixture(
    scope="module",
    params=[*OF_THE_DEMO, *(pytest.param(family, marks=pytest.mark.models) for family in OF_THE_HUB)],
    ids=str,
)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokens]:
    """Of both demo models; of the tiny checkpoints of all architectures where they are written anyway."""
    family: Family = request.param
    weights = family.weights(tmp_path_factory.mktemp("weights"))
    check_markers(family.cards[0], weights)
    with tokens(family.cards[0], weights) as running:
        yield running


def test_the_card_names_all_special_tokens_of_its_tokenizer(tokenizer: Tokens):
    """As the tokenizer itself tells them, in its engine's environment."""
    assert tokenizer.special
    assert [token for token in tokenizer.special if as_words(token, tokenizer.card.markers) == token] == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_special_tokens_are_where_the_template_put_them(tokenizer: Tokens, data: st.DataObject):
    """Whatever was written, they are those of the same chat about nothing; and its bytes bound its tokens."""
    texts = written([*tokenizer.special, *SENTINELS]).filter(str.strip)
    part = st.one_of(texts.map(lambda text: {"type": "text", "text": text}), st.just(IMAGE))
    said = st.one_of(texts, st.lists(part, min_size=1, max_size=4))
    turns = st.tuples(st.sampled_from(["system", "user", "assistant"]), texts).map(_turn)
    messages = [*data.draw(st.lists(turns, max_size=2)), _turn(("user", "caption")), _turn(("user", data.draw(said)))]
    sent, nothing = formed(messages, tokenizer.card), formed(list(map(_about_nothing, messages)), tokenizer.card)
    special, count = tokenizer.of(sent)
    expected, template_count = tokenizer.of(nothing)
    assert special == expected
    assert count <= template_count + prompt_bytes({"messages": sent})


def _turn(said: tuple[str, Any]) -> dict[str, Any]:
    return {"role": said[0], "content": said[1]}


def _about_nothing(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message | {"content": "a"}
    return message | {"content": [part | {"text": "a"} if part["type"] == "text" else part for part in content]}
