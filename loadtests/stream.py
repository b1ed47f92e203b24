"""One streamed answer, read as it comes, and what it tells of the server. Times count from when it was to be sent: a server
that is late for one request must not hide that it is late for the next.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

DATA = b"data:"
DONE = b"[DONE]"


class BadAnswer(Exception):
    """The answer is an error, or ended before it was whole. The message is what the report groups by."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An answer. Times in milliseconds; tokens are the server's own count, because a chunk may hold several."""

    ttft_ms: float
    e2e_ms: float
    output_tokens: int
    input_tokens: int = 0
    vision_tokens: int = 0
    images: int = 0
    cost_usd: float = 0.0

    @property
    def tpot_ms(self) -> float:
        """Mean time of an output token after the first."""
        return (self.e2e_ms - self.ttft_ms) / max(1, self.output_tokens - 1)


def measure(lines: Iterable[bytes], since_ms: Callable[[], float]) -> Measured:
    """Read the events of a stream. `since_ms` is the time since the request was due. Raises `BadAnswer`."""
    ttft_ms: float | None = None
    usage: dict[str, Any] | None = None
    for line in lines:
        if not line.startswith(DATA):
            continue
        data = line[len(DATA) :].strip()
        if data == DONE:
            return _measured(ttft_ms, since_ms(), usage)
        chunk = json.loads(data)
        if chunk.get("error"):
            raise BadAnswer(f"error in the stream: {chunk['error'].get('code')}")
        if ttft_ms is None and any(_says(choice) for choice in chunk["choices"]):
            ttft_ms = since_ms()
        usage = chunk.get("usage") or usage
    raise BadAnswer("the stream ended without [DONE]")


def _says(choice: dict[str, Any]) -> bool:
    return bool(choice.get("delta", {}).get("content")) or choice.get("finish_reason") is not None


def _measured(ttft_ms: float | None, e2e_ms: float, usage: dict[str, Any] | None) -> Measured:
    if ttft_ms is None:
        raise BadAnswer("the stream had no content")
    if usage is None:
        raise BadAnswer("the stream had no usage")
    details = usage.get("prompt_tokens_details") or {}
    return Measured(
        ttft_ms,
        e2e_ms,
        usage["completion_tokens"],
        usage["prompt_tokens"],
        details.get("image_tokens") or 0,
        usage.get("images") or 0,
        usage.get("cost") or 0.0,
    )
