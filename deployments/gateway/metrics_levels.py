"""What a gateway looks at now and then: queues, the ledger's connection, the media cache. No request waits for it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from deployments.gateway.forming import Load
from deployments.metric import Instruments, Metric

LOOK_EVERY_S = 5.0

MODEL = ("model",)
BUDGET = Metric("vlmfleet_budget_tokens", "gauge", MODEL, "Prompt tokens that may be with the model's engines at once.")
WAITING = Metric("vlmfleet_waiting_requests", "gauge", MODEL, "Requests in the queue.")
BACKLOG = Metric("vlmfleet_backlog_tokens", "gauge", ("model", "tier"), "Prompt tokens in the queue.")
OLDEST = Metric("vlmfleet_oldest_wait_seconds", "gauge", MODEL, "How long the first in the queue has waited.")
RUNNING = Metric("vlmfleet_running_requests", "gauge", MODEL, "Requests that are with the model's engines.")
RUNNING_TOKENS = Metric(
    "vlmfleet_running_tokens", "gauge", MODEL, "Prompt tokens with the engines whose answer has not begun."
)
QUEUE_REFUSALS = Metric("vlmfleet_queue_refusals", "counter", MODEL, "Requests that would have waited too long.")
LEDGER_CONNECTED = Metric("vlmfleet_ledger_connected", "gauge", (), "1 while the ledger's writer can be spoken to.")
UNACKNOWLEDGED = Metric("vlmfleet_ledger_unacknowledged", "gauge", (), "Commands that the ledger has not confirmed.")
UNDECIDED = Metric(
    "vlmfleet_undecided_seconds", "gauge", MODEL, "Since the last decision about a model's replicas that is known here."
)
CACHE_HITS = Metric("vlmfleet_media_cache_hits", "counter", (), "Images that were found decoded.")
CACHE_MISSES = Metric("vlmfleet_media_cache_misses", "counter", (), "Images that had to be decoded.")
CACHE_BYTES = Metric("vlmfleet_media_cache_bytes", "gauge", (), "What the media cache holds.")
TABLE = (
    BUDGET, WAITING, BACKLOG, OLDEST, RUNNING, RUNNING_TOKENS, QUEUE_REFUSALS, LEDGER_CONNECTED, UNACKNOWLEDGED,
    UNDECIDED, CACHE_HITS, CACHE_MISSES, CACHE_BYTES,
)  # fmt: skip


class Queues(Protocol):
    """`Forming`: by card id, as `models` names them."""

    def loads(self) -> dict[str, Load]:
        """How things stand."""


class Ledger(Protocol):
    """`LedgerClient`."""

    @property
    def connected(self) -> bool: ...

    @property
    def unacknowledged(self) -> int: ...


class Kept(Protocol):
    """`Cache`: hits and misses only ever grow."""

    hits: int
    misses: int

    @property
    def kept_bytes(self) -> int: ...


class Levels:
    """`models` has the served name of every card id; `undecided_s` says how old the last decision about a model is."""

    def __init__(
        self,
        instruments: Instruments,
        queues: Queues,
        ledger: Ledger,
        cache: Kept,
        models: Mapping[str, str],
        undecided_s: Callable[[str], float],
    ) -> None:
        self._instruments = instruments
        self._queues = queues
        self._ledger = ledger
        self._cache = cache
        self._models = models
        self._undecided_s = undecided_s
        self._counted: dict[tuple[Metric, tuple[str, ...]], int] = {}

    async def keep_looking(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Record everything as it stands, and hand all counts on."""
        for card_id, load in self._queues.loads().items():
            self._queue(self._models[card_id], load)
        for model in self._models.values():
            self._instruments.set(UNDECIDED, self._undecided_s(model), model)
        self._instruments.set(LEDGER_CONNECTED, int(self._ledger.connected))
        self._instruments.set(UNACKNOWLEDGED, self._ledger.unacknowledged)
        self._instruments.set(CACHE_BYTES, self._cache.kept_bytes)
        self._grown(CACHE_HITS, self._cache.hits)
        self._grown(CACHE_MISSES, self._cache.misses)
        self._instruments.flush()

    def _queue(self, model: str, load: Load) -> None:
        self._instruments.set(BUDGET, load.budget_tokens, model)
        self._instruments.set(WAITING, load.waiting_requests, model)
        self._instruments.set(BACKLOG, load.waiting_tokens, model, "default")
        self._instruments.set(BACKLOG, load.waiting_batch_tokens, model, "batch")
        self._instruments.set(OLDEST, load.oldest_wait_s, model)
        self._instruments.set(RUNNING, load.running_requests, model)
        self._instruments.set(RUNNING_TOKENS, load.running_tokens, model)
        self._grown(QUEUE_REFUSALS, load.refused_requests, model)

    def _grown(self, metric: Metric, total: int, *labels: str) -> None:
        """Count what has come since the last look."""
        self._instruments.count(metric, total - self._counted.get((metric, labels), 0), *labels)
        self._counted[metric, labels] = total
