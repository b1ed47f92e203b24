"""Whether a schema is one that an answer can keep to, found before an engine sees it.

xgrammar compiles it for a vocabulary of single bytes: that costs milliseconds where the model's own costs seconds, and fails
in all the same ways. Beside those, a schema that refers to itself and nothing else allows no first token.

A pattern that can be read in many ways at once (`(.*a?){9}`) costs more with every token of the answer, and all answers of the
batch wait. So where there are patterns, some answers are begun here, and none of their steps may take long.
"""

import json
import random
import time
from functools import cache
from typing import Any

import xgrammar

from . import schema
from .refusal import FieldRefused

FIELD = "response_format"
BYTES = 256
TYPES = ("text", "json_object", "json_schema")
# Answers that are begun prefer these bytes, as far as they are allowed: what is alike can be read in the most ways.
TEXTS = (
    b"a",
    b"x",
    b"0",
    b" ",
    b"-",
    b"a0",
    b"ab ",
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-_",
)
# Their bytes, and the CPU time of one: a thousand times what an ordinary pattern takes.
STEPS, STEP_S_MAX = 128, 0.02


def check(response_format: dict[str, Any] | None) -> None:
    """To be called on a thread. Raises `FieldRefused`."""
    if response_format is None:
        return
    if response_format.get("type") not in TYPES:
        raise FieldRefused(FIELD, f"its type is one of {', '.join(TYPES)}")
    if response_format["type"] != "json_schema":
        return
    asked = schema.asked_of(response_format)
    if not isinstance(asked, dict):
        raise FieldRefused(FIELD, "json_schema.schema is an object")
    try:
        grammar = _compiler().compile_json_schema(json.dumps(asked), any_whitespace=False)
    except (RuntimeError, ValueError) as error:
        raise FieldRefused(FIELD, f"unsupported schema: {_reason(error)}") from error
    if not _allowed(xgrammar.GrammarMatcher(grammar)):
        raise FieldRefused(FIELD, "unsupported schema: nothing can be an answer to it")
    if schema.has_patterns(asked):
        for text in TEXTS:
            _begin(xgrammar.GrammarMatcher(grammar), text)


def _begin(matcher: xgrammar.GrammarMatcher, text: bytes) -> None:
    """Begin an answer, of this text where that is allowed. Raises `FieldRefused` at a step that takes too long."""
    dice = random.Random(0)  # noqa: S311  # not a secret
    for _ in range(STEPS):
        began_s = time.thread_time()
        allowed = [] if matcher.is_terminated() else _allowed(matcher)
        if not allowed:
            return
        matcher.accept_token(dice.choice([token for token in allowed if token < BYTES and token in text] or allowed))
        if time.thread_time() - began_s > STEP_S_MAX:
            raise FieldRefused(FIELD, "unsupported schema: a pattern can be read in too many ways at once")


def _allowed(matcher: xgrammar.GrammarMatcher) -> list[int]:
    mask = xgrammar.allocate_token_bitmask(1, BYTES + 1)
    matcher.fill_next_token_bitmask(mask)
    words = mask[0].tolist()
    return [token for token in range(BYTES + 1) if words[token // 32] >> token % 32 & 1]


@cache
def _compiler() -> xgrammar.GrammarCompiler:
    vocabulary = [bytes([value]) for value in range(BYTES)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[BYTES])
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


def _reason(error: Exception) -> str:
    """xgrammar's last line, without the place in its source where it stands."""
    return (str(error).strip().splitlines() or ["it cannot be compiled"])[-1].rpartition("] ")[2]
