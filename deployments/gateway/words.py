"""What people write is words, and nothing else: a marker of the model's in it (`<|im_end|>`, `<image>`) is broken by a space.

Not only in texts: engines put names, refusals, tools and the arguments of their calls into the prompt as well. Pure; the
markers are the card's.
"""

import json
import re
from typing import Any

from catalog.markers import as_words
from deployments.gateway.errors import BadRequest

Message = dict[str, Any]
Part = dict[str, Any]


def in_words(message: Message, markers: re.Pattern[str]) -> Message:
    """The message without markers.

    Texts that stand side by side become one, with a newline between: engines join them, some without one, and two halves
    of a marker would find together.
    """
    return {name: _field(name, value, markers) for name, value in message.items()}


def _field(name: str, value: Any, markers: re.Pattern[str]) -> Any:
    match name, value:
        case "role", _:
            return value
        case "content", list():
            return [_part(part, markers) for part in _joined(value)]
        case "tool_calls", list():
            return [_tool_call(call, markers) for call in value]
    return as_words_deep(value, markers)


def as_words_deep(value: Any, markers: re.Pattern[str]) -> Any:
    """JSON without markers, in its names neither."""
    match value:
        case str():
            return as_words(value, markers)
        case list():
            return [as_words_deep(item, markers) for item in value]
        case dict():
            return {as_words(name, markers): as_words_deep(item, markers) for name, item in value.items()}
    return value


def _joined(parts: list[Part]) -> list[Part]:
    """A refusal is a text like others to an engine."""
    joined: list[Part] = []
    for part in parts:
        text = part.get("text", part.get("refusal"))
        if text is None:
            joined.append(part)
        elif joined and joined[-1]["type"] == "text":
            joined[-1] = joined[-1] | {"text": f"{joined[-1]['text']}\n{text}"}
        else:
            joined.append({"type": "text", "text": text})
    return joined


def _part(part: Part, markers: re.Pattern[str]) -> Part:
    return part | {"text": as_words(part["text"], markers)} if part["type"] == "text" else part


def _tool_call(call: dict[str, Any], markers: re.Pattern[str]) -> dict[str, Any]:
    said: dict[str, Any] = as_words_deep(call, markers)
    arguments = _arguments(call["function"]["arguments"], markers)
    return said | {"function": said["function"] | {"arguments": arguments}}


def _arguments(text: str, markers: re.Pattern[str]) -> str:
    """Engines decode these before they write them into the prompt, and JSON can write `<` in six characters. Raises
    `BadRequest`.
    """
    try:
        # As vLLM decodes them: what another reader refuses it might take.
        data = json.loads(text)
        said = as_words_deep(data, markers)
    except RecursionError as error:
        raise BadRequest("The arguments of a tool call are nested too deeply.", param="messages") from error
    except ValueError:
        return as_words(text, markers)
    return as_words(text if said == data else json.dumps(said), markers)
