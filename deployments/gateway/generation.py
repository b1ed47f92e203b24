"""`GET /v1/generation?id=`: what is known of one request afterwards. The authority when a stream was cut off."""

from collections.abc import Callable
from typing import Any

from accounting.gpu_cost import WINDOW_MS
from accounting.money import usd
from accounting.price import output_units
from deployments.gateway.answer import completion_id
from deployments.gateway.asgi import Exchange
from deployments.gateway.desk import Desk
from deployments.gateway.errors import NothingOfThatName
from deployments.gateway.form import Form, read_query
from deployments.gateway.gpu import costs_between
from deployments.gateway.keys import Keys

# So long after a window no attempt in it can still be running: deadline, expiry and a margin.
SHARED_OUT_AFTER_MS = 11 * 60_000


class GenerationQuery(Form):
    """`id`: of an answer (`chatcmpl-...`), or of its header `x-vlm-request-id`."""

    id: str


class Generations:
    """Of the key's own organisation; those of others are not there."""

    def __init__(self, desk: Desk, keys: Keys, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._keys = keys
        self._now_ms = now_ms

    async def __call__(self, exchange: Exchange) -> None:
        key = self._keys.authenticate(exchange.header("authorization"), None)
        query = read_query(GenerationQuery, exchange.query)
        known = await self._desk.ask("generation", query.id.removeprefix(completion_id("")))
        if known is None or known["org_id"] != key.org_id:
            raise NothingOfThatName("request", param="id")
        await exchange.answer_json(generation(known, await self._gpu_nano(known)))

    async def _gpu_nano(self, known: dict[str, Any]) -> int | None:
        """What its attempts cost us, once everything is known that ran beside them."""
        stays = [(row["slot_from_ms"], row["slot_to_ms"]) for row in known["attempts"] if row["slot_to_ms"]]
        if not stays:
            return None
        from_ms = min(from_ms for from_ms, _ in stays) // WINDOW_MS * WINDOW_MS
        to_ms = (max(to_ms for _, to_ms in stays) // WINDOW_MS + 1) * WINDOW_MS
        if self._now_ms() < to_ms + SHARED_OUT_AFTER_MS:
            return None
        costs = await costs_between(self._desk, from_ms, to_ms)
        ids = [(known["request_id"], row["attempt"]) for row in known["attempts"]]
        return sum(costs.attempts[one] for one in ids) if costs.replicas else None


def generation(known: dict[str, Any], gpu_nano: int | None) -> dict[str, Any]:
    """The answer, from what `Store.generation` knows. Amounts are null as long as they are not known."""
    last = known["attempts"][-1] if known["attempts"] else None
    charged_nano = None if known["state"] == "open" else known["charged_nano"] or 0
    return {
        "id": completion_id(known["request_id"]),
        "object": "generation",
        "model": known["model"],
        "created": known["created_at_ms"] // 1000,
        "tier": known["tier"],
        "state": known["state"],
        "outcome": known["why"],
        "finish_reason": last and last["finish"],
        "usage": last and usage(last),
        "cost": _dollars(charged_nano),
        "cost_details": {"charged_nano": charged_nano, "hold_nano": known["amount_nano"], "gpu_nano": gpu_nano},
        "images": len(known["units"]["images"]),
        "units": last and max(1, sum(known["units"]["images"]) + output_units(last["output_tokens"])),
        "price_version": known["price_version"],
        "attempts": [attempt(row, known) for row in known["attempts"]],
        "gpu_cost": _dollars(gpu_nano),
    }


def usage(row: dict[str, Any]) -> dict[str, Any]:
    """The counts of an attempt, as in the `usage` of an answer."""
    prompt_tokens = row["text_tokens"] + row["vision_tokens"]
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": row["output_tokens"],
        "total_tokens": prompt_tokens + row["output_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": row["cached_tokens"],
            "image_tokens": row["vision_tokens"],
            "text_tokens": row["text_tokens"],
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def attempt(row: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """One try on one replica."""
    started_ms, number = row["slot_from_ms"], row["attempt"]
    return {
        "attempt": number,
        "replica": row["replica_id"],
        "queue_ms": None if started_ms is None else max(0, started_ms - known["created_at_ms"]),
        "ttft_ms": row["ttft_ms"],
        "total_ms": row["latency_ms"],
        "outcome": known["why"] if number == known["attempt"] else "taken_over",
        "charged": bool(row["charged"]),
    }


def _dollars(amount_nano: int | None) -> float | None:
    return None if amount_nano is None else float(usd(amount_nano))
