"""Whether a schema is one that an answer can keep to, found before an engine sees it.

xgrammar compiles it for a vocabulary of single bytes: that costs milliseconds where the model's own costs seconds, and fails
in all the same ways. Beside those, a schema that refers to itself and nothing else allows no first token.
"""

import json
from functools import cache
from typing import Any

import xgrammar

from . import schema
from .refusal import FieldRefused

FIELD = "response_format"
BYTES = 256
TYPES = ("text", "json_object", "json_schema")


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
        matcher = xgrammar.GrammarMatcher(_compiler().compile_json_schema(json.dumps(asked)))
    except (RuntimeError, ValueError) as error:
        raise FieldRefused(FIELD, f"unsupported schema: {_reason(error)}") from error
    allowed = xgrammar.allocate_token_bitmask(1, BYTES + 1)
    matcher.fill_next_token_bitmask(allowed)
    if not allowed.any():
        raise FieldRefused(FIELD, "unsupported schema: nothing can be an answer to it")


@cache
def _compiler() -> xgrammar.GrammarCompiler:
    vocabulary = [bytes([value]) for value in range(BYTES)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[BYTES])
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


def _reason(error: Exception) -> str:
    """xgrammar's last line, without the place in its source where it stands."""
    return (str(error).strip().splitlines() or ["it cannot be compiled"])[-1].rpartition("] ")[2]
