"""The second witness: an engine replica tells the ledger that it lives, and what its engine server has counted.

It must never hurt serving: samples wait for the ledger, of too many the oldest are dropped, and a counter that cannot be
read is None.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Value

from accounting.command import Sample
from accounting.life import SAMPLE_EVERY_MS
from deployments.engines.server import EngineServer
from deployments.ledger.client import LedgerClient

SAMPLES_WAITING_MAX = 500
# What the engines call them; of an engine that has several cores each is a sum. LMDeploy tells what is in flight as it
# was up to ten seconds ago; its `num_api_requests_waiting` is left out, because disconnects make it negative.
IN_FLIGHT = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "lmdeploy:num_requests_running",
    "lmdeploy:num_requests_waiting",
    "transformers:num_requests_running",
    "transformers:num_requests_waiting",
)
PROMPT_TOKENS = ("vllm:prompt_tokens_total", "lmdeploy:prompt_tokens_total", "transformers:prompt_tokens_total")
OUTPUT_TOKENS = (
    "vllm:generation_tokens_total",
    "lmdeploy:generation_tokens_total",
    "transformers:generation_tokens_total",
)


@dataclass(frozen=True, slots=True)
class Occupant:
    """Which replica this is, as gateways name it, and its rent."""

    replica_id: str
    model: str
    rent_nano_per_hour: int


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a sample is taken and how long its reading may take, in seconds. A slot counts as held for `slot_over_s`
    more: an engine needs a moment to stop what was cancelled.
    """

    every_s: float = SAMPLE_EVERY_MS / 1000
    read_s: float = 2.0
    slot_over_s: float = 1.0
    close_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine server says of itself: requests it has taken and not finished, tokens since its start."""

    in_flight: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


UNREAD = Counters()


class Witness:
    """Samples one replica: regularly, whenever its engine server changes, and when it comes to rest."""

    def __init__(
        self, occupant: Occupant, ledger: LedgerClient, now_ms: Callable[[], int], rhythm: Rhythm = Rhythm()
    ) -> None:
        self._occupant = occupant
        self._ledger = ledger
        self._now_ms = now_ms
        self._rhythm = rhythm
        self._engine: EngineServer | None = None
        self._token = ""
        self._due = asyncio.Event()
        self._held = 0
        self._held_max = 0  # since the last sample
        self._sampled_at_ms = 0
        self._waiting: asyncio.Queue[Sample] = asyncio.Queue(SAMPLES_WAITING_MAX)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. Until there is an engine server to watch, the replica is loading."""
        self._ledger.start()
        self._tasks = [asyncio.create_task(self._look_regularly()), asyncio.create_task(self._send())]

    def watch(self, engine: EngineServer, token: str = "") -> None:
        """Read this one's counters from now on; `token` opens it."""
        self._engine = engine
        self._token = token

    def look_soon(self) -> None:
        """Take a sample now, not only when it is time."""
        self._due.set()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A slot of the replica is held while the block runs."""
        self._held += 1
        self._held_max = max(self._held_max, self._held)
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(self._rhythm.slot_over_s, self._slot_is_over)

    async def look(self) -> None:
        """Take a sample."""
        engine = self._engine
        if engine is None or not engine.ready:
            self._keep("loading", UNREAD)
            return
        epoch = engine.epoch
        counters = await read_counters(engine.url, self._rhythm.read_s, self._token)
        # A server that died meanwhile may have said half of it.
        if engine.ready and engine.epoch == epoch:
            self._keep("ready", counters)

    async def close(self) -> None:
        """The engine server was stopped: say so, and wait a moment until the ledger knows."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._keep("ended", UNREAD)
        while not self._waiting.empty():
            self._ledger.submit(self._waiting.get_nowait())
        await self._ledger.close(self._rhythm.close_s)

    def _slot_is_over(self) -> None:
        self._held -= 1
        if not self._held:
            self.look_soon()

    async def _look_regularly(self) -> None:
        while True:
            self._due.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rhythm.every_s):
                    await self._due.wait()

    def _keep(self, state: str, counters: Counters) -> None:
        """No two samples of a replica have the same time: it is part of their name."""
        self._sampled_at_ms = max(self._now_ms(), self._sampled_at_ms + 1)
        who = self._occupant
        sample = Sample(
            replica_id=who.replica_id,
            epoch=self._engine.epoch if self._engine else "",
            model=who.model,
            at_ms=self._sampled_at_ms,
            state=state,
            rent_nano_per_hour=who.rent_nano_per_hour,
            # Not only now: else a slot held between two samples would not be seen.
            slots_held=self._held_max,
            in_flight=counters.in_flight,
            prompt_tokens=counters.prompt_tokens,
            output_tokens=counters.output_tokens,
        )
        self._held_max = self._held
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(sample)

    async def _send(self) -> None:
        """One at a time: what the ledger's client has taken over can not be dropped any more."""
        while True:
            await self._ledger.submit(await self._waiting.get())


async def read_counters(url: str, timeout_s: float, token: str = "") -> Counters:
    """From the engine server's `/metrics`; what it does not count, or cannot say now, is None."""
    headers = {"authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout_s)) as session,
            session.get(f"{url}/metrics", headers=headers) as response,
        ):
            return counters_of(await response.text()) if response.status == 200 else UNREAD
    except (aiohttp.ClientError, TimeoutError, ValueError, OverflowError):
        return UNREAD


def counters_of(exposition: str) -> Counters:
    """Raises ValueError or OverflowError for what is no exposition, or counts no numbers."""
    values = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    return Counters(_sum(values, IN_FLIGHT), _sum(values, PROMPT_TOKENS), _sum(values, OUTPUT_TOKENS))


def _sum(values: Iterable[Value], names: tuple[str, ...]) -> int | None:
    found = [int(value.value) for value in values if value.name in names]
    return sum(found) if found else None
