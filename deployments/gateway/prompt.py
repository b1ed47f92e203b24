"""How many tokens the text of a prompt can be: a byte is a token at most, whatever the tokenizer. Pure."""

import json
from typing import Any


def prompt_bytes(sent: dict[str, Any]) -> int:
    """UTF-8 bytes of all that an engine writes into the prompt of this request, but for what its template adds."""
    in_prompt = [sent[name] for name in ("tools", "response_format") if sent.get(name) is not None]
    return sum(map(_message_bytes, sent["messages"])) + sum(map(_json_bytes, in_prompt))


def _message_bytes(message: dict[str, Any]) -> int:
    size = 0
    for name, value in message.items():
        if isinstance(value, str):
            size += 0 if name == "role" else _bytes(value)
        elif name == "content":
            # A newline between parts, which some engines write.
            size += sum(1 + _bytes(part.get("text", "")) for part in value or ())
        elif name == "tool_calls":
            size += sum(map(_tool_call_bytes, value or ()))
        elif value is not None:
            size += _json_bytes(value)
    return size


def _tool_call_bytes(call: dict[str, Any]) -> int:
    """Its arguments as they are, or decoded and written anew, whichever is longer."""
    arguments = call["function"]["arguments"]
    try:
        return _json_bytes(call) + _json_bytes(json.loads(arguments))
    except ValueError:
        return _json_bytes(call)


def _json_bytes(value: Any) -> int:
    """As templates write JSON: with a space after every comma and colon."""
    return _bytes(json.dumps(value, ensure_ascii=False))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
