"""The engine's answer as the client gets it: OpenAI's fields only, with our usage. Pure."""

from collections.abc import Iterable
from typing import Any

import orjson

from accounting.limits import LimitState
from accounting.money import usd
from deployments.gateway.bill import Bill, Charge, Usage
from deployments.gateway.engine import EngineBrokeOff
from deployments.gateway.errors import GatewayError
from deployments.one_line import one_line

DONE = b"data: [DONE]\n\n"

# No model's context is as long, and the ledger's sums of such counts stay within 64 bits for nine billion requests.
TOKENS_MAX = 10**9
# "content_filter" is the longest of OpenAI's.
FINISH_CHARACTERS_MAX = 64

# What of a choice and its message or delta reaches the client; engines add fields of their own.
CHOICE_FIELDS = ("index", "message", "delta", "logprobs", "finish_reason")
MESSAGE_FIELDS = ("role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content", "boxes", "points")
ANSWER_FIELDS = ("id", "object", "created", "model", "choices", "system_fingerprint", "service_tier")


def read_usage(data: object) -> Usage:
    """The usage of an engine's answer or chunk, in one form for every engine. Missing counts are 0.

    Raises `EngineBrokeOff` for what is none: an answer whose work is unknown is not charged, so it is no answer.
    """
    if not isinstance(data, dict) or not isinstance(details := data.get("prompt_tokens_details") or {}, dict):
        raise EngineBrokeOff
    by_kind = details.get("multimodal_tokens")
    return Usage(
        prompt_tokens=_count(data.get("prompt_tokens")),
        output_tokens=_count(data.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
        vision_tokens=sum(map(_count, by_kind.values())) if isinstance(by_kind, dict) else by_kind,
    )


def read_finish(answer: dict[str, Any]) -> str | None:
    """Why an answer, or a chunk with a choice, is the last; None: it is not. Raises `EngineBrokeOff` for what is no reason."""
    finish = answer["choices"][0].get("finish_reason")
    if finish is not None and not (isinstance(finish, str) and 0 < len(finish) <= FINISH_CHARACTERS_MAX):
        raise EngineBrokeOff
    return finish


def _count(value: object) -> int:
    """A count of tokens; None is 0. Raises `EngineBrokeOff`."""
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= TOKENS_MAX:
        raise EngineBrokeOff
    return value


def trimmed(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer or chunk without the engine's own fields, usage aside."""
    kept = {name: answer[name] for name in ANSWER_FIELDS if name in answer}
    kept["choices"] = [_choice(choice) for choice in answer.get("choices", ())]
    return kept


def usage_of(bill: Bill, charge: Charge) -> dict[str, Any]:
    """The `usage` of an answer: OpenAI's counts, then the price. The same, field by field, streamed or not."""
    usage, vision_tokens = charge.usage, bill.work.vision_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "image_tokens": vision_tokens,
            "text_tokens": max(0, usage.prompt_tokens - vision_tokens),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost": float(usd(charge.amount_nano)),
        "cost_details": {
            "charged_nano": charge.amount_nano,
            "hold_nano": bill.hold_nano,
            "unit_price_nano": bill.price.unit_nano,
            "upstream_inference_cost": None,
        },
        "images": len(bill.work.images),
        "video_frames": 0,
        "units": charge.quote.units,
        "price_version": bill.price.version,
    }


def whole(answer: dict[str, Any], bill: Bill, charge: Charge) -> bytes:
    """A whole answer, encoded."""
    return orjson.dumps(trimmed(answer) | {"usage": usage_of(bill, charge)})


def event(data: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + one_line(data) + b"\n\n"


def chunk(data: dict[str, Any]) -> bytes:
    """One streamed chunk, encoded; usage comes in a chunk of its own at the end."""
    return event(trimmed(data) | {"usage": None})


def usage_chunk(last: dict[str, Any], bill: Bill, charge: Charge) -> bytes:
    """The chunk with the usage and no choices."""
    return event(trimmed(last) | {"choices": [], "usage": usage_of(bill, charge)})


def limit_headers(limits: Iterable[LimitState]) -> list[tuple[bytes, bytes]]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,images,tokens}`, as OpenAI sends them."""
    headers = []
    for state in limits:
        name, per_minute, _ = state.name.partition("_per_minute")
        if per_minute:
            values = {"limit": state.limit, "remaining": state.remaining, "reset": duration(state.reset_ms)}
            headers += [(f"x-ratelimit-{kind}-{name}".encode(), str(value).encode()) for kind, value in values.items()]
    return headers


def duration(ms: int) -> str:
    """`12ms`, `7s`, `1m3s`."""
    if ms < 1000:
        return f"{ms}ms"
    minutes, seconds = divmod(-(-ms // 1000), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def failure_event(request_id: str, error: GatewayError) -> bytes:
    """One event for two habits: openai-python raises on `error`, OpenRouter's clients read `finish_reason`."""
    failed = {"index": 0, "delta": {}, "finish_reason": "error"}
    return event({"id": completion_id(request_id), "choices": [failed], **error.body()})


def completion_id(request_id: str) -> str:
    return f"chatcmpl-{request_id}"


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    kept = {name: choice[name] for name in CHOICE_FIELDS if name in choice}
    for part in ("message", "delta"):
        if part in kept:
            fields = kept[part] or {}
            kept[part] = {name: fields[name] for name in MESSAGE_FIELDS if fields.get(name) is not None}
    return kept
