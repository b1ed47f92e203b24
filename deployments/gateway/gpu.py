"""What accelerators cost, asked of the ledger in slices of time: they add up to a day, and none is too much to hold."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator

from accounting import questions
from accounting.gpu_cost import Cost, Costs, gpu_costs
from accounting.life import SAMPLES_MARGIN_MS, lives_of
from deployments.gateway.desk import Desk

# Of whole windows, so that slices add up exactly.
SLICE_MS = 10 * 60_000


async def costs_by_model(desk: Desk, from_ms: int, to_ms: int) -> dict[str, Cost]:
    """Of [from_ms, to_ms), between whole windows. Raises `LedgerUnavailable`."""
    models: dict[str, Cost] = defaultdict(Cost)
    for part_from_ms, part_to_ms in slices(from_ms, to_ms):
        part = await costs_between(desk, part_from_ms, part_to_ms)
        for model, cost in part.by_model().items():
            models[model] += cost
    return dict(models)


async def costs_between(desk: Desk, from_ms: int, to_ms: int) -> Costs:
    """Of a period that is not long, between whole windows. Raises `LedgerUnavailable`."""
    samples = questions.Samples(from_ms=from_ms - SAMPLES_MARGIN_MS, to_ms=to_ms + SAMPLES_MARGIN_MS)
    lives = lives_of(await desk.rows(samples))
    stays = await desk.rows(questions.Stays(from_ms=from_ms, to_ms=to_ms))
    return await asyncio.to_thread(gpu_costs, lives, stays, from_ms, to_ms)


def slices(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """[from_ms, to_ms), cut at whole slices."""
    while from_ms < to_ms:
        end_ms = min(to_ms, (from_ms // SLICE_MS + 1) * SLICE_MS)
        yield from_ms, end_ms
        from_ms = end_ms
