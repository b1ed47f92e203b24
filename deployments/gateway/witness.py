"""The engines' own counters against the ledger, for `/metrics`: looked at over the last hour, at most once a minute."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from accounting.command import Sample
from accounting.stay import stays_of
from accounting.witness import compare, mismatch_ratios
from catalog import Catalog
from deployments.gateway.desk import Desk

LOOK_BACK_MS = 3_600_000
# Attempts are recorded as they end, and samples every ten seconds.
SETTLED_AFTER_MS = 60_000
LOOK_EVERY_MS = 60_000


class Witness:
    """`now_ms` is milliseconds UTC."""

    def __init__(self, desk: Desk, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._context_tokens_max = max((card.context_tokens for card in catalog), default=0)
        self._now_ms = now_ms
        self._looked_at_ms = -LOOK_EVERY_MS
        self._ratios: dict[str, float] = {}

    async def mismatch_ratios(self) -> dict[str, float]:
        """By model: 0 if engine and ledger agree, 1 if only one of them saw anything; a model whose engine counts nothing is
        left out. Raises `LedgerUnavailable`.
        """
        now_ms = self._now_ms()
        if now_ms - self._looked_at_ms >= LOOK_EVERY_MS:
            self._looked_at_ms = now_ms
            self._ratios = await self._look(now_ms - LOOK_BACK_MS, now_ms - SETTLED_AFTER_MS)
        return self._ratios

    async def _look(self, from_ms: int, to_ms: int) -> dict[str, float]:
        samples = await self._desk.ask("records", "samples", from_ms, to_ms)
        attempts = await self._desk.ask("records", "attempts", from_ms, to_ms)
        return await asyncio.to_thread(_ratios, samples, attempts, self._context_tokens_max)


def _ratios(
    samples: Iterable[dict[str, Any]], attempts: Iterable[dict[str, Any]], context_tokens_max: int
) -> dict[str, float]:
    return mismatch_ratios(compare((Sample(**row) for row in samples), stays_of(attempts), context_tokens_max))
