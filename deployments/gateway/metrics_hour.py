"""The last hour of the fleet, read off the ledger: replicas and their starts, what accelerators did and cost, and
whether the engines' own counters agree. Looked at when asked, at most once a minute.

Gauges, not counters: an attempt that is recorded later moves seconds from idle to share, and any gateway may be asked next.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from accounting import questions
from accounting.command import Sample
from accounting.gpu_cost import Cost, gpu_costs
from accounting.life import Life, lives_of
from accounting.witness import Comparing, mismatch_ratios
from catalog import Catalog
from catalog.card import Accelerators
from deployments.gateway.desk import Desk
from deployments.gateway.gpu import slices

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
        self._reading: asyncio.Task[None] | None = None
        self._looked_at_ms = -LOOK_EVERY_MS
        self._hour = Hour()

    async def look(self) -> Hour:
        """Raises `LedgerUnavailable`. Whoever asks while it is read waits for the same; if he leaves, it is read all the same."""
        if self._reading is None and self._now_ms() - self._looked_at_ms >= LOOK_EVERY_MS:
            self._reading = asyncio.create_task(self._look())
        if self._reading:
            await asyncio.shield(self._reading)
        return self._hour

    async def _look(self) -> None:
        try:
            now_ms = self._now_ms()
            self._hour = await self._read(now_ms)
            self._looked_at_ms = now_ms
        finally:
            self._reading = None

    async def _read(self, now_ms: int) -> Hour:
        """Slice by slice: what is held of an hour's attempts at once is a slice of them."""
        samples = await self._desk.rows(questions.Samples(from_ms=now_ms - LOOK_BACK_MS, to_ms=now_ms))
        lives = lives_of(samples)
        comparing = Comparing(
            (sample for sample in samples if sample.at_ms < now_ms - SETTLED_AFTER_MS), self._context_tokens_max
        )
        costs: dict[str, Cost] = defaultdict(Cost)
        for from_ms, to_ms in slices(now_ms - LOOK_BACK_MS, now_ms):
            stays = await self._desk.rows(questions.Stays(from_ms=from_ms, to_ms=to_ms))
            part = await asyncio.to_thread(gpu_costs, lives, stays, from_ms, to_ms)
            for model, cost in part.by_model().items():
                costs[model] += cost
            # One that overlaps several slices is of the first of them.
            is_first = from_ms == now_ms - LOOK_BACK_MS
            await asyncio.to_thread(comparing.add, [stay for stay in stays if is_first or stay.from_ms >= from_ms])
        gpu_nano = {
            (model, purpose): nano for model, cost in costs.items() for purpose, nano in purposes_of(cost).items()
        }
        return Hour(
            mismatch_ratios(comparing.comparisons()),
            dict.fromkeys(((model, "ready") for model in self._models), 0) | replicas_by_state(samples, now_ms),
            *_starts(lives_of(_with_weights(samples)), now_ms),
            gpu_nano,
            {labels: nano * self._rates.get(labels[0], 0.0) for labels, nano in gpu_nano.items()},
            {model: cost.revenue_nano for model, cost in costs.items()},
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
