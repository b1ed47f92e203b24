"""`GET /v1/generation?id=`: what is known of one request afterwards. The authority when a stream was cut off."""

from collections.abc import Callable
from typing import Any

from accounting import questions
from accounting.command import Attempt
from accounting.gpu_cost import WINDOW_MS
from accounting.money import usd
from accounting.price import output_units
from accounting.request import EndedAttempt, Generation
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
        known = await self._desk.ask(questions.OneRequest(query.id.removeprefix(completion_id(""))))
        if known is None or known.org_id != key.org_id:
            raise NothingOfThatName("request", param="id")
        await exchange.answer_json(generation(known, await self._gpu_nano(known)))

    async def _gpu_nano(self, known: Generation) -> int | None:
        """What its attempts cost us, once everything is known that ran beside them."""
        stays = [slot for tried in known.attempts if (slot := slot_of(tried.record))]
        if not stays:
            return None
        from_ms = min(from_ms for from_ms, _ in stays) // WINDOW_MS * WINDOW_MS
        to_ms = (max(to_ms for _, to_ms in stays) // WINDOW_MS + 1) * WINDOW_MS
        if self._now_ms() < to_ms + SHARED_OUT_AFTER_MS:
            return None
        costs = await costs_between(self._desk, from_ms, to_ms)
        ids = [(known.request_id, tried.attempt) for tried in known.attempts]
        return sum(costs.attempts[one] for one in ids) if costs.replicas else None


def generation(known: Generation, gpu_nano: int | None) -> dict[str, Any]:
    """The answer, from what `Store.generation` knows. Amounts are null as long as they are not known."""
    last = known.attempts[-1].record if known.attempts else None
    charged_nano = None if known.state == "open" else known.charged_nano or 0
    return {
        "id": completion_id(known.request_id),
        "object": "generation",
        "model": known.model,
        "created": known.created_at_ms // 1000,
        "tier": known.tier,
        "state": known.state,
        "outcome": known.why,
        "finish_reason": last and last.finish,
        "usage": last and usage(last),
        "cost": _dollars(charged_nano),
        "cost_details": {"charged_nano": charged_nano, "hold_nano": known.amount_nano, "gpu_nano": gpu_nano},
        "images": len(known.units.images),
        "units": last and max(1, sum(known.units.images) + output_units(last.output_tokens)),
        "price_version": known.price_version,
        "attempts": [attempt(tried, known) for tried in known.attempts],
        "gpu_cost": _dollars(gpu_nano),
    }


def usage(record: Attempt) -> dict[str, Any]:
    """The counts of an attempt, as in the `usage` of an answer."""
    prompt_tokens = record.text_tokens + record.vision_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": record.output_tokens,
        "total_tokens": prompt_tokens + record.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": record.cached_tokens,
            "image_tokens": record.vision_tokens,
            "text_tokens": record.text_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def attempt(tried: EndedAttempt, known: Generation) -> dict[str, Any]:
    """One try on one replica."""
    started_ms = tried.record.slot_from_ms
    return {
        "attempt": tried.attempt,
        "replica": tried.record.replica_id,
        "queue_ms": None if started_ms is None else max(0, started_ms - known.created_at_ms),
        "ttft_ms": tried.record.ttft_ms,
        "total_ms": tried.record.latency_ms,
        "outcome": known.why if tried.attempt == known.attempt else "taken_over",
        "charged": tried.charged,
    }


def slot_of(record: Attempt) -> tuple[int, int] | None:
    """From when to when an attempt had a slot; None if it had none."""
    if record.slot_from_ms is None or record.slot_to_ms is None:
        return None
    return record.slot_from_ms, record.slot_to_ms


def _dollars(amount_nano: int | None) -> float | None:
    return None if amount_nano is None else float(usd(amount_nano))
