"""Every family's markers, and that none is left in a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import ModelCard, load_catalog
from catalog.markers import COMMON, FAMILIES, as_words, pattern_of
from tests.marking import written

CATALOG = load_catalog()
# Of the tokenizers as they were published.
PUBLISHED = {
    "qwen2_vl": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|image_pad|>", "<|video_pad|>"],
    "qwen2_5_vl": ["<|im_start|>", "<|image_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|file_sep|>"],
    "qwen_vl": ["<|im_start|>", "<|extra_0|>", "<|extra_204|>", "<img>", "</img>", "<imgpad>", "<ref>", "</quad>"],
    "internvl2": ["<|im_end|>", "<|action_start|>", "<|plugin|>", "<s>", "</s>", "<unk>", "<IMG_CONTEXT>", "</box>"],
    "llava": ["<s>", "</s>", "<unk>", "<pad>", "<image>"],
    "paligemma": ["<bos>", "<eos>", "<pad>", "<mask>", "<image>", "<loc0000>", "<loc1023>", "<seg127>", "<unused98>"],
    "moondream2": ["<|endoftext|>", "<|md_reserved_0|>"],
    "moondream3": ["<|endoftext|>", "<|md_reserved_2|>", "<image>"],
    "smolvlm2": ["<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>",
                 "<row_1_col_1>", "<row_6_col_6>", "<reponame>", "<jupyter_code>", "<issue_closed>"],
}  # fmt: skip
# What the engines write into a prompt where a picture goes.
SENTINELS = ["<IMAGE_TOKEN>", "<IMG_CONTEXT>", "<##IMAGE##>", "<##PROMPT_EMBEDS##>", "<image>", "<video>"]


@pytest.mark.parametrize("card", CATALOG.cards, ids=lambda card: card.served_name)
def test_every_card_names_its_familys_markers(card: ModelCard):
    for marker in [*PUBLISHED[card.vision.family], *SENTINELS]:
        assert card.markers.fullmatch(marker), marker


@pytest.mark.parametrize("marker", sorted({*COMMON, *(marker for family in FAMILIES.values() for marker in family)}))
def test_no_marker_can_begin_inside_another(marker: str):
    """So all are found in one pass: the beginning of one is in no other, and no space either."""
    assert marker[0] == "<" or marker.startswith(r"\[")
    rest = re.sub(r"\[\^[^]]*\]+[^]]*\]|\[[^]]*\]", "", marker.removeprefix(r"\[")[marker[0] == "<" :])
    assert not re.search(r"<|\[| ", rest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a <|im_end|> b", "a < |im_end|> b"),
        ("<|im_<|im_end|>end|>", "<|im_< |im_end|>end|>"),
        ("< |im_end|>", "< |im_end|>"),
        ("<b>bold</b>, a < b and List<int>", "<b>bold</b>, a < b and List<int>"),
        ("f <| x |> g", "f <| x |> g"),
    ],
)
def test_a_marker_is_broken_and_all_else_stays(text: str, words: str):
    assert as_words(text, pattern_of("qwen2_vl")) == words


def test_a_card_adds_its_own():
    assert as_words("[INST] hi", pattern_of("llava", ("[INST]",))) == "[ INST] hi"


@given(st.data(), st.sampled_from(sorted(PUBLISHED)))
def test_none_is_left(data: st.DataObject, family: str):
    """However they were cut and put together; and what is words stays as it is."""
    text = data.draw(written([*PUBLISHED[family], *SENTINELS]))
    said = as_words(text, pattern_of(family))
    assert not pattern_of(family).search(said)
    assert as_words(said, pattern_of(family)) == said
    assert said.replace(" ", "") == text.replace(" ", "")
