"""The last hour of the fleet, read off the ledger: replicas and their starts, what accelerators did and cost, and
whether the engines' own counters agree. Looked at when asked, at most once a minute.

Gauges, not counters: an attempt that is recorded later moves seconds from idle to share, and any gateway may be asked next.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from accounting.command import Sample
from accounting.gpu_cost import Cost, gpu_costs
from accounting.life import Life, lives_of
from accounting.stay import Stay, stays_of
from accounting.witness import compare, mismatch_ratios
from catalog import Catalog
from catalog.card import Accelerators
from deployments.gateway.desk import Desk

LOOK_BACK_MS = 3_600_000
# Attempts are recorded as they end, and samples every ten seconds.
SETTLED_AFTER_MS = 60_000
LOOK_EVERY_MS = 60_000
# A replica that was not heard of for so long is gone.
SILENT_MS = 30_000

# Two labels: a model, and a state, outcome or purpose.
Labels = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hour:
    """`gpu_s` counts each accelerator of a replica; of a model on CPUs, the replica."""

    mismatch_ratios: dict[str, float] = field(default_factory=dict)
    replicas: dict[Labels, int] = field(default_factory=dict)
    starts: dict[Labels, int] = field(default_factory=dict)
    start_s_max: dict[str, float] = field(default_factory=dict)
    gpu_nano: dict[Labels, int] = field(default_factory=dict)
    gpu_s: dict[Labels, float] = field(default_factory=dict)
    revenue_nano: dict[str, int] = field(default_factory=dict)


class LastHour:
    """`now_ms` is milliseconds UTC."""

    def __init__(self, desk: Desk, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._context_tokens_max = max((card.context_tokens for card in catalog), default=0)
        self._rates = {card.served_name: _seconds_per_nano(card.accelerators) for card in catalog}
        self._models = tuple(self._rates)
        self._now_ms = now_ms
        self._looked_at_ms = -LOOK_EVERY_MS
        self._hour = Hour()

    async def look(self) -> Hour:
        """Raises `LedgerUnavailable`."""
        now_ms = self._now_ms()
        if now_ms - self._looked_at_ms >= LOOK_EVERY_MS:
            samples = await self._desk.ask("records", "samples", now_ms - LOOK_BACK_MS, now_ms)
            attempts = await self._desk.ask("records", "attempts", now_ms - LOOK_BACK_MS, now_ms)
            self._hour = await asyncio.to_thread(self._read, samples, attempts, now_ms)
            self._looked_at_ms = now_ms
        return self._hour

    def _read(self, sample_rows: list[dict[str, Any]], attempts: list[dict[str, Any]], now_ms: int) -> Hour:
        samples, stays = [Sample(**row) for row in sample_rows], list(stays_of(attempts))
        settled = [sample for sample in samples if sample.at_ms < now_ms - SETTLED_AFTER_MS]
        lives = lives_of(samples)
        gpu_nano, revenue_nano = _costs(lives, stays, now_ms - LOOK_BACK_MS, now_ms)
        return Hour(
            mismatch_ratios(compare(settled, stays, self._context_tokens_max)),
            dict.fromkeys(((model, "ready") for model in self._models), 0) | replicas_by_state(samples, now_ms),
            *_starts(lives_of(_with_weights(samples)), now_ms),
            gpu_nano,
            {labels: nano * self._rates.get(labels[0], 0.0) for labels, nano in gpu_nano.items()},
            revenue_nano,
        )


def replicas_by_state(samples: Iterable[Sample], now_ms: int) -> dict[Labels, int]:
    """By each replica's last word, if that was not long ago."""
    last: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda sample: sample.at_ms):
        last[sample.replica_id] = sample
    heard = (sample for sample in last.values() if sample.at_ms > now_ms - SILENT_MS and sample.state != "ended")
    return dict(Counter((sample.model, sample.state) for sample in heard))


def _with_weights(samples: Iterable[Sample]) -> Iterator[Sample]:
    """A replica has no epoch while it fetches weights: that is a part of the start that follows."""
    first: dict[str, str] = {}
    by_time = sorted(samples, key=lambda sample: sample.at_ms)
    for sample in by_time:
        if sample.epoch:
            first.setdefault(sample.replica_id, sample.epoch)
    for sample in by_time:
        yield replace(sample, epoch=sample.epoch or first.get(sample.replica_id, ""))


def _starts(lives: Iterable[Life], now_ms: int) -> tuple[dict[Labels, int], dict[str, float]]:
    """How the starts of the hour ended, and the longest of those that did well, in seconds."""
    ended: Counter[Labels] = Counter()
    longest: dict[str, float] = {}
    for life in lives:
        began_before = life.from_ms < now_ms - LOOK_BACK_MS + SILENT_MS
        if life.ready_ms < life.to_ms and life.from_ms < life.ready_ms:
            ended[life.model, "ready"] += 1
            longest[life.model] = max(longest.get(life.model, 0.0), (life.ready_ms - life.from_ms) / 1000)
        elif life.ready_ms == life.to_ms < now_ms - SILENT_MS and not began_before:
            ended[life.model, "failed"] += 1
    return dict(ended), longest


def _costs(
    lives: Iterable[Life], stays: Iterable[Stay], from_ms: int, to_ms: int
) -> tuple[dict[Labels, int], dict[str, int]]:
    """Nano-dollars by model and purpose, and what each model earned."""
    models = gpu_costs(lives, stays, from_ms, to_ms).by_model()
    by_purpose = {
        (model, purpose): nano for model, cost in models.items() for purpose, nano in purposes_of(cost).items()
    }
    return by_purpose, {model: cost.revenue_nano for model, cost in models.items()}


def purposes_of(cost: Cost) -> dict[str, int]:
    """What the time of accelerators went to; the parts sum to the rent."""
    return {
        "share": cost.share_nano,
        "waste": cost.waste_nano,
        "idle": cost.idle_nano,
        "cold": cost.cold_nano,
    }


def _seconds_per_nano(accelerators: Accelerators) -> float:
    rent_nano = accelerators.rent_nano_per_hour
    return 3600 * max(1, accelerators.count) / rent_nano if rent_nano else 0.0
