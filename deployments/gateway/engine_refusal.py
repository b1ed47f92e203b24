"""What an engine's error means for the caller. Its own words stay in our log: they may repeat the input."""

import re
from typing import Any

import orjson

from deployments.gateway.errors import BadRequest, ContextTooLong, GatewayError
from deployments.log import logger_for

logger = logger_for(__name__)

# How the engines say that a prompt is too long (vLLM 0.32).
CONTEXT_WORDS = ("maximum context length", "max_model_len", "longer than the maximum model length")
IMAGE_WORDS = ("failed to load image", "cannot identify image")
# Errors of ours, not of the caller: a wrong token, a path that is not there.
NOT_THE_CALLERS = (401, 403, 404, 408, 429)
# What engines call fields that have another name here; these words are in no other field's errors.
OTHER_NAMES = {
    "max_tokens": "max_completion_tokens",
    "structured_outputs": "response_format",
    "guided_json": "response_format",
    "json_schema": "response_format",
    "schema": "response_format",
    "grammar": "response_format",
    "tool": "tools",
    "vocab_size": "logit_bias",
    "chat_template": "messages",
}
# Fields that are also what any message may speak of.
COMMON_WORDS = frozenset({"model", "messages", "stream", "stream_options"})
WORD = re.compile(r"[a-z_]+")
LOGGED_CHARACTERS_MAX = 500


class ImageRefused(BadRequest):
    """The engine could not read an image: the gateway finds out which."""


def refusal(status: int, answer: bytes, asked: bytes, context_tokens: int) -> GatewayError | None:
    """None if it is no fault of the caller. `asked` is what the engine was sent."""
    error = _error(answer)
    message = str(error.get("message") or "")
    lowered = message.lower()
    if any(words in lowered for words in CONTEXT_WORDS):
        return ContextTooLong(context_tokens)
    if any(words in lowered for words in IMAGE_WORDS):
        return ImageRefused("The engine could not read an image of this request.", code="image_parse_error")
    if not 400 <= status < 500 or status in NOT_THE_CALLERS:
        logger.error("the engine answered %d: %s", status, message[:LOGGED_CHARACTERS_MAX])
        return None
    field = refused_field(error.get("param"), lowered, frozenset(orjson.loads(asked)))
    logger.warning("the engine refused %s: %s", field, message[:LOGGED_CHARACTERS_MAX])
    return BadRequest(
        f"The model's engine refused '{field}' of this request; see the model's documentation.", param=field
    )


def refused_field(param: object, message: str, asked: frozenset[str]) -> str:
    """The field at fault: the engine's own word for it (`body.stop`, `structured_outputs`), else the first that its message
    names and the request has; else the messages, the only thing that every request has. Pure.
    """
    said: list[str] = WORD.findall(str(param or "").removeprefix("body.").lower())[:1]
    words: list[str] = [*said, *(word for word in WORD.findall(message) if word not in COMMON_WORDS)]
    for word in words:
        field = OTHER_NAMES.get(word, word)
        if field in asked or word in asked:
            return field
    return "messages"


def _error(answer: bytes) -> dict[str, Any]:
    try:
        error = orjson.loads(answer)["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}
