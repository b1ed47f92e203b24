"""What accelerators cost, asked of the ledger hour by hour: the hours add up to a day, and no answer is too long."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from accounting.command import Sample
from accounting.gpu_cost import HOUR_MS, Cost, Costs, gpu_costs
from accounting.life import SAMPLES_MARGIN_MS, lives_of
from accounting.stay import stays_of
from deployments.gateway.desk import Desk


async def costs_by_model(desk: Desk, from_ms: int, to_ms: int) -> dict[str, Cost]:
    """Of [from_ms, to_ms), which begins at a whole hour. Raises `LedgerUnavailable`."""
    models: dict[str, Cost] = defaultdict(Cost)
    for hour_ms in range(from_ms, to_ms, HOUR_MS):
        hour = await costs_between(desk, hour_ms, min(hour_ms + HOUR_MS, to_ms))
        for model, cost in hour.by_model().items():
            models[model] += cost
    return dict(models)


async def costs_between(desk: Desk, from_ms: int, to_ms: int) -> Costs:
    """Of a period that is not long, between whole windows. Raises `LedgerUnavailable`."""
    samples = await desk.ask("records", "samples", from_ms - SAMPLES_MARGIN_MS, to_ms + SAMPLES_MARGIN_MS)
    attempts = await desk.ask("records", "attempts", from_ms, to_ms)
    return await asyncio.to_thread(_costs, samples, attempts, from_ms, to_ms)


def _costs(samples: Iterable[dict[str, Any]], attempts: Iterable[dict[str, Any]], from_ms: int, to_ms: int) -> Costs:
    return gpu_costs(lives_of(Sample(**row) for row in samples), stays_of(attempts), from_ms, to_ms)
