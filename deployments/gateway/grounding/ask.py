"""Asking for boxes or points: what a request says, what its model can do, and what its engine is asked instead. Pure."""

from dataclasses import replace
from typing import Any, Literal, get_args

from catalog.card import Grounding, ModelCard
from deployments.gateway.errors import BadRequest
from deployments.gateway.request import Chat

Kind = Literal["boxes", "points"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWER_HEADER = "x-answer"

# Their marks are special tokens, which engines leave out of a text unless they are told not to.
MARKED_BY_SPECIAL_TOKENS = frozenset({"qwen2_vl", "qwen_vl", "internvl2"})
# Models that look for what a task word names; the others are asked in the caller's own words.
TASK_WORDS: dict[str, dict[Kind, str]] = {
    "paligemma": {"boxes": "detect"},
    "moondream": {"boxes": "detect", "points": "point"},
}


def kind_asked(chat: Chat, header: str | None) -> Kind | None:
    """What `response_format` or the header `X-Answer` asks for. Raises `BadRequest`."""
    said = chat.request.response_format
    in_body, in_header = _kind(said and said.type), _kind(header)
    if header is not None and in_header is None:
        raise BadRequest("'X-Answer' is 'boxes' or 'points'.", param="X-Answer")
    if in_body and in_header and in_body != in_header:
        raise BadRequest(
            "'X-Answer' asks for something else than 'response_format'. Send one of both.", param="X-Answer"
        )
    return in_body or in_header


def for_engine(chat: Chat, kind: Kind, card: ModelCard) -> Chat:
    """The request without our own `response_format`, worded so that the model answers with places.

    Raises `BadRequest` where the model does not write them.
    """
    grounding = card.grounding
    if grounding is None or not getattr(grounding, kind):
        raise BadRequest(f"This model does not answer with {kind}. Ask for text.", param="response_format")
    data = dict(chat.data)
    if (data.get("response_format") or {}).get("type") == kind:
        del data["response_format"]
    if word := TASK_WORDS.get(grounding.format, {}).get(kind):
        data["messages"] = _with_task_word(data["messages"], word)
    return replace(chat, data=data | _kept_marks(data, grounding))


def _kind(said: object) -> Kind | None:
    return next((kind for kind in KINDS if kind == said), None)


def _kept_marks(data: dict[str, Any], grounding: Grounding) -> dict[str, Any]:
    if grounding.format not in MARKED_BY_SPECIAL_TOKENS:
        return {}
    if data.get("skip_special_tokens"):
        raise BadRequest(
            "'skip_special_tokens' would remove the marks that places are read from. Remove it.",
            param="skip_special_tokens",
        )
    return {"skip_special_tokens": False}


def _with_task_word(messages: list[dict[str, Any]], word: str) -> list[dict[str, Any]]:
    """The last text of the user names what to look for; one that begins with the task word already stays."""
    for i in reversed(range(len(messages))):
        message = messages[i]
        if message["role"] == "user" and (worded := _worded(message["content"], word)) is not None:
            return [*messages[:i], message | {"content": worded}, *messages[i + 1 :]]
    return messages


def _worded(content: Any, word: str) -> Any:
    """The content with the task word before its first text, None where it has no text."""
    if isinstance(content, str):
        return content if content.startswith(f"{word} ") else f"{word} {content}"
    for i, part in enumerate(content):
        if part["type"] == "text":
            return [*content[:i], part | {"text": _worded(part["text"], word)}, *content[i + 1 :]]
    return None
