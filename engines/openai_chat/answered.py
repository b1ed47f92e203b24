"""What an answer looks like: vLLM's shapes of OpenAI's. Pure."""

import json
import time
from dataclasses import dataclass
from typing import Any

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of an answer, and what was counted until then. `finish` is None for all pieces but the last."""

    text: str
    output_tokens: int = 0
    cached_tokens: int = 0
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is the same in all parts of an answer."""

    id: str
    model: str
    prompt_tokens: int
    # By modality, "image" or "video"; in `prompt_tokens` too.
    vision_tokens: dict[str, int]

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": last.finish}
        return self._envelope("chat.completion", [choice]) | {"usage": self.usage(last)}

    def first_chunk(self) -> dict[str, Any]:
        return self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, piece: Piece) -> dict[str, Any]:
        return self._chunk({"content": piece.text}, piece.finish)

    def usage_chunk(self, last: Piece) -> dict[str, Any]:
        return self._envelope("chat.completion.chunk", []) | {"usage": self.usage(last)}

    def usage(self, piece: Piece) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": piece.output_tokens,
            "total_tokens": self.prompt_tokens + piece.output_tokens,
            "prompt_tokens_details": {"cached_tokens": piece.cached_tokens, "multimodal_tokens": self.vision_tokens},
        }

    def _chunk(self, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._envelope("chat.completion.chunk", [choice])

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": self.model, "choices": choices}


def event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def failure(status: int, message: str, param: str | None = None) -> dict[str, Any]:
    """`param` is the field at fault."""
    kind = "BadRequestError" if status < 500 else "InternalServerError"
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}
