"""Markers: what a tokenizer or an engine reads as structure (a turn, the place of a picture), not as words.

A marker is a text, or a regular expression of many. It begins with `<` or `[`, and holds neither of the two after that, nor
white space: so no two overlap, and a space after its first character makes words of it, for good.
"""

import re
from functools import cache
from typing import Annotated

from pydantic import StringConstraints

# What a card may add to its family's, as plain text.
Marker = Annotated[str, StringConstraints(pattern=r"^[<\[][^<\[\s]+$")]

# Nearly every tokenizer's, and what engines write themselves where a picture goes (LMDeploy, vLLM).
COMMON = (
    r"<\|[^<>\[\]|\s]{1,64}\|>",
    r"<IMAGE_TOKEN>",
    r"<IMG_CONTEXT>",
    r"<##[A-Z_]{1,32}##>",
    r"<image>",
    r"<video>",
)
SENTENCEPIECE = (r"</?s>", r"<unk>", r"<pad>")
PLACES = (r"</?img>", r"</?ref>", r"</?box>", r"</?quad>")
QWEN2 = (r"</?tool_call>", r"</?tool_response>")

# By the family of `catalog/vision/`, as its publisher's tokenizers have them.
FAMILIES: dict[str, tuple[str, ...]] = {
    "qwen2_vl": QWEN2,
    "qwen2_5_vl": QWEN2,
    "qwen_vl": (*PLACES, r"<imgpad>"),
    "internvl2": (*SENTENCEPIECE, *PLACES, r"\[UNUSED_TOKEN_\d{1,4}\]"),
    "llava": SENTENCEPIECE,
    "paligemma": (
        *SENTENCEPIECE, r"<[be]os>", r"<mask>", r"<2mass>", r"\[@BOS@\]", r"\[toxicity=0\]", r"<unused\d{1,4}>",
        r"<(start|end)_of_turn>", r"<loc\d{4}>", r"<seg\d{3}>",
    ),
    "moondream2": (),
    "moondream3": (),
    "smolvlm2": (
        r"<end_of_utterance>", r"<fake_token_around_image>", r"<global-img>", r"<row_\d{1,2}_col_\d{1,2}>",
        r"<repo_?name>", r"<file_sep>", r"<filename>", r"<gh_stars>", r"<empty_output>",
        r"<issue_(start|comment|closed)>", r"<jupyter_(start|text|code|output|script)>",
    ),
}  # fmt: skip


@cache
def pattern_of(family: str, added: tuple[str, ...] = ()) -> re.Pattern[str]:
    """The markers of a family, and those that a card has `added`."""
    return re.compile("|".join((*COMMON, *FAMILIES[family], *map(re.escape, added))))


def as_words(text: str, markers: re.Pattern[str]) -> str:
    """The text with every marker in it broken by a space: `< |im_end|>`. It reads the same, and means nothing."""
    return markers.sub(lambda marker: f"{marker[0][0]} {marker[0][1:]}", text)
