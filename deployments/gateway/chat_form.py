"""A chat in the form that its model was trained on: words that are only words, system prompt, stops, labels, prefix. Pure.

An ordinary chat does some models harm. PaliGemma knows no turns, InternVL2 must have its images numbered in the text, and
every tokenizer takes a `<|im_end|>` of a caller for the end of his turn. The form is data of the card; what the caller says
itself always stands, but for a space in such a marker.

No image is added, dropped or moved, so nothing here changes what a request costs beyond its text.
"""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from catalog.card import Chat, ModelCard
from deployments.gateway.errors import BadRequest
from deployments.gateway.words import in_words

Message = dict[str, Any]
Part = dict[str, Any]

SYSTEM_ROLES = frozenset({"system", "developer"})
SEEN = frozenset({"image_url", "video_url"})


def formed(messages: list[Message], card: ModelCard) -> list[Message]:
    """The messages as the model wants them. Those given are left as they are. Raises `BadRequest`."""
    chat = card.chat
    messages = [in_words(message, card.markers) for message in messages]
    if chat.task_words:
        messages = [_with_texts(message, lambda text: _as_question(text, chat.task_words)) for message in messages]
    if chat.sends == "last_user_text":
        return [_last_user_text(messages)]
    if chat.image_label and sum(map(_is_image, _parts(messages))) > 1:
        messages = _labelled(messages, chat.image_label)
    if chat.system and not any(message["role"] in SYSTEM_ROLES for message in messages):
        messages = [{"role": "system", "content": chat.system}, *messages]
    return messages


def defaults(data: dict[str, Any], chat: Chat) -> dict[str, Any]:
    """What to add to a request's own sampling fields: the model's sampling where they are silent, and its stops beside theirs.

    A request that goes on beyond the end of the answer (`ignore_eos`) gets no stops: they are that end.
    """
    added: dict[str, Any] = {name: value for name, value in chat.sampling.items() if data.get(name) is None}
    if data.get("ignore_eos"):
        return added
    for name, own in (("stop", chat.stop), ("stop_token_ids", chat.stop_token_ids)):
        if own:
            asked = data.get(name) or []
            added[name] = list(dict.fromkeys([*([asked] if isinstance(asked, str) else asked), *own]))
    return added


def _last_user_text(messages: list[Message]) -> Message:
    """One message: every image in order, then the last text of the user, which is all that a model without turns understands.

    Raises `BadRequest` where there is none.
    """
    said = [text for message in messages if message["role"] == "user" and (text := _text(message))]
    if not said:
        raise BadRequest(
            "This model answers one question or task beside the image. Send it as the text of the user.",
            param="messages",
        )
    seen = [part for part in _parts(messages) if part["type"] in SEEN]
    # A newline is the end of PaliGemma's question.
    return {"role": "user", "content": [*seen, {"type": "text", "text": said[-1].replace("\n", " ")}]}


def _labelled(messages: list[Message], label: str) -> list[Message]:
    """Numbered through the whole conversation, as the model saw them in training."""
    numbers = count(1)

    def labelled(parts: Iterable[Part]) -> Iterable[Part]:
        for part in parts:
            if _is_image(part):
                yield {"type": "text", "text": label.format(n=next(numbers))}
            yield part

    return [
        message | {"content": list(labelled(message["content"]))} if _has_parts(message) else message
        for message in messages
    ]


def _with_texts(message: Message, change: Callable[[str], str]) -> Message:
    if isinstance(message.get("content"), str):
        return message | {"content": change(message["content"])}
    if not _has_parts(message):
        return message
    return message | {
        "content": [
            part | {"text": change(part["text"])} if part["type"] == "text" else part for part in message["content"]
        ]
    }


def _as_question(text: str, task_words: tuple[str, ...]) -> str:
    """A capital letter keeps a text a question: templates compare task words letter by letter."""
    return text[:1].upper() + text[1:] if text.startswith(task_words) else text


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content.strip()
    return " ".join(part["text"] for part in content or () if part["type"] == "text").strip()


def _parts(messages: list[Message]) -> list[Part]:
    return [part for message in messages if _has_parts(message) for part in message["content"]]


def _has_parts(message: Message) -> bool:
    return isinstance(message.get("content"), list)


def _is_image(part: Part) -> bool:
    return bool(part["type"] == "image_url")
