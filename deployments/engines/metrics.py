"""What a replica tells of its engine: whether it is ready, how its starts went, and the engine's own counts.

Every engine server has a `/metrics` behind its token, in words of its own; Ray's exporter then has them in ours, for any engine.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deployments.metric import Instruments, Metric

READ_EVERY_S = 10.0
READ_S = 5.0

MODEL = ("model",)
READY = Metric("vlmfleet_engine_ready", "gauge", MODEL, "1 while the engine server answers.")
STARTS = Metric(
    "vlmfleet_engine_starts", "counter", ("model", "outcome"), "Starts of engine servers that ended: ready, failed."
)
DEATHS = Metric(
    "vlmfleet_engine_deaths",
    "counter",
    ("model", "reason"),
    "Engine servers that were ready and ended: memory (too much of it), unwell (said so on /health), ended (any other way).",
)
START_SECONDS = Metric("vlmfleet_engine_start_seconds", "histogram", MODEL, "Process begun to ready: the cold start.")
RUNNING = Metric("vlmfleet_engine_running_requests", "gauge", MODEL, "Requests in the engine's batch.")
WAITING = Metric("vlmfleet_engine_waiting_requests", "gauge", MODEL, "Requests that wait in the engine.")
KV_USAGE = Metric("vlmfleet_engine_kv_usage_ratio", "gauge", MODEL, "How full the engine's KV cache is, 0 to 1.")
PREFIX_QUERIES = Metric(
    "vlmfleet_engine_prefix_queries", "counter", MODEL, "Prompt tokens that were looked up in the prefix cache."
)
PREFIX_HITS = Metric("vlmfleet_engine_prefix_hits", "counter", MODEL, "Of these, tokens that were there.")
MM_QUERIES = Metric("vlmfleet_engine_mm_queries", "counter", MODEL, "Images that were looked up among the processed.")
MM_HITS = Metric("vlmfleet_engine_mm_hits", "counter", MODEL, "Of these, images that were there.")
TABLE = (
    READY, STARTS, DEATHS, START_SECONDS, RUNNING, WAITING, KV_USAGE, PREFIX_QUERIES, PREFIX_HITS, MM_QUERIES, MM_HITS,
)  # fmt: skip

# What the engines call them. One that an engine does not have is not told.
GAUGES = {
    RUNNING: ("vllm:num_requests_running", "lmdeploy:num_requests_running", "transformers:num_requests_running"),
    WAITING: ("vllm:num_requests_waiting", "lmdeploy:num_requests_waiting", "transformers:num_requests_waiting"),
    KV_USAGE: ("vllm:kv_cache_usage_perc", "lmdeploy:gpu_cache_usage_perc"),
}
COUNTERS = {
    PREFIX_QUERIES: ("vllm:prefix_cache_queries_total", "lmdeploy:prompt_tokens_total"),
    PREFIX_HITS: ("vllm:prefix_cache_hits_total", "lmdeploy:cached_tokens_total"),
    MM_QUERIES: ("vllm:mm_cache_queries_total",),
    MM_HITS: ("vllm:mm_cache_hits_total",),
}


class Server(Protocol):
    """What is to be known of an engine server."""

    url: str

    @property
    def ready(self) -> bool:
        """It answers."""


class EngineMetrics:
    """Of one replica. `watch` its engine server, then tell it when something `changed`."""

    def __init__(self, model: str, instruments: Instruments) -> None:
        self._model = model
        self._instruments = instruments
        self._epoch = ""
        self._began_s = 0.0
        self._was_ready = True
        self._counted: dict[Metric, int] = {}

    def changed(self, epoch: str, *, ready: bool) -> None:
        """The engine server is another one, or ready, or not any more."""
        if epoch != self._epoch:
            self._start_ended("failed")
            self._epoch, self._began_s, self._was_ready = epoch, time.monotonic(), False
            self._counted.clear()
        if ready and not self._was_ready:
            self._instruments.observe(START_SECONDS, time.monotonic() - self._began_s, self._model)
            self._start_ended("ready")
        self._instruments.set(READY, int(ready), self._model)
        self._instruments.flush()

    def died(self, reason: str) -> None:
        """The engine server was ready, and is not any more."""
        self._instruments.count(DEATHS, 1, self._model, reason)
        self._instruments.flush()

    async def keep_reading(self, server: Server, token: str) -> None:
        """Until cancelled. What cannot be read now is read the next time."""
        while True:
            await asyncio.sleep(READ_EVERY_S)
            await self.look(server, token)

    async def look(self, server: Server, token: str) -> None:
        """Tell all that there is to tell."""
        # Said again although it did not change: Ray forgets a gauge that was not set for two of its intervals.
        self._instruments.set(READY, int(server.ready), self._model)
        if server.ready:
            self.read(await _exposition(server.url, token))

    def read(self, exposition: str) -> None:
        """Record what the engine says of itself."""
        try:
            values = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
        except ValueError:
            return
        for metric, names in GAUGES.items():
            if found := _named(values, names):
                self._instruments.set(metric, sum(found), self._model)
        for metric, names in COUNTERS.items():
            if found := _named(values, names):
                total = int(sum(found))
                self._instruments.count(metric, max(0, total - self._counted.get(metric, 0)), self._model)
                self._counted[metric] = total
        self._instruments.flush()

    def _start_ended(self, outcome: str) -> None:
        if not self._was_ready:
            self._instruments.count(STARTS, 1, self._model, outcome)
        self._was_ready = True


async def _exposition(url: str, token: str) -> str:
    """The engine's own `/metrics`; empty if it cannot be had."""
    timeout, headers = aiohttp.ClientTimeout(total=READ_S), {"authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{url}/metrics") as response,
        ):
            return await response.text() if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return ""


def _named(values: Iterable[Sample], names: tuple[str, ...]) -> list[float]:
    return [value.value for value in values if value.name in names]
