"""A streamed answer as the whole answer it amounts to: kept for an idempotency key, and told again as a short stream."""

from typing import Any

import orjson

from deployments.gateway import answer
from deployments.gateway.bill import Bill


class Transcript:
    """The one choice of an answer, put together from its chunks."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": ""}
        self._tool_calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._finish: str | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Append one of the engine's chunks that has a choice."""
        self._first = self._first or chunk
        choice = chunk["choices"][0]
        delta = choice.get("delta") or {}
        for name in ("content", "refusal", "reasoning", "reasoning_content"):
            if delta.get(name):
                self._message[name] = self._message.get(name, "") + delta[name]
        self._message |= {name: delta[name] for name in ("boxes", "points") if name in delta}
        for call in delta.get("tool_calls") or ():
            self._add_tool_call(call)
        self._logprobs += (choice.get("logprobs") or {}).get("content") or ()
        self._finish = choice.get("finish_reason") or self._finish

    def encoded(self, bill: Bill) -> bytes:
        """The whole answer, with the usage so far."""
        calls = {"tool_calls": [self._tool_calls[i] for i in sorted(self._tool_calls)]} if self._tool_calls else {}
        choice = {
            "index": 0,
            "message": self._message | calls,
            "logprobs": {"content": self._logprobs} if self._logprobs else None,
            "finish_reason": self._finish,
        }
        return answer.whole(self._first | {"object": "chat.completion", "choices": [choice]}, bill, bill.charge())

    def _add_tool_call(self, call: dict[str, Any]) -> None:
        index = call.get("index", 0)
        kept = self._tool_calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
        if call.get("id"):
            kept["id"] = call["id"]
        function = call.get("function") or {}
        for name in ("name", "arguments"):
            kept["function"][name] += function.get(name) or ""


def retold(whole: str, *, with_usage: bool) -> bytes:
    """A kept answer as a stream: one chunk with all of it, the usage if asked for, `[DONE]`."""
    data = orjson.loads(whole)
    (choice,) = data["choices"]
    message = choice.pop("message")
    for i, call in enumerate(message.get("tool_calls") or ()):
        call["index"] = i
    common = {name: value for name, value in data.items() if name not in ("choices", "usage")}
    common["object"] = "chat.completion.chunk"
    events = [common | {"choices": [choice | {"delta": message}], "usage": None}]
    if with_usage:
        events.append(common | {"choices": [], "usage": data["usage"]})
    return b"".join(map(answer.event, events)) + answer.DONE
