"""The Serve deployment of the ingress: builds the ASGI app in its replica."""

import asyncio
import contextlib
import gc
import time
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from accounting.price import Price
from catalog import Catalog, ModelCard
from deployments.batches.line import Answered
from deployments.engines.door import engine_name
from deployments.files.objects import open_objects
from deployments.files.quota import QUOTA, Quota
from deployments.files.store import FileStore
from deployments.gateway import metrics as request_metrics
from deployments.gateway import metrics_levels
from deployments.gateway.admin.scaling import explain_by, unscaled
from deployments.gateway.app import GatewayApp
from deployments.gateway.attempts import keep_ending
from deployments.gateway.bill import Books
from deployments.gateway.cors import ALL_ORIGINS, Origins
from deployments.gateway.engine import Engines
from deployments.gateway.keys import Keys, keep_fresh
from deployments.gateway.life import ChatCompletions, ChatLimits
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media, MediaLimits
from deployments.gateway.media.s3 import Buckets
from deployments.gateway.metrics import ServeMetrics
from deployments.gateway.metrics_levels import Levels
from deployments.gateway.route import ServeRouter
from deployments.gateway.trace import export_if_asked
from deployments.gateway.waking import FleetWaking
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.locate import Ledger, writer_address
from deployments.metric import Instruments
from deployments.scaling.messenger import Messenger
from deployments.scaling.signals import Signals

CLOSE_PATIENCE_S = 30.0
QUEUE_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Neighbours:
    """How a gateway finds the ledger and the engines: by application name, or by handles in its own application.

    `batches`: the batch worker, if it is in the same application; it is the one that asks. `scaled`: whether an application
    `scaling` belongs to the fleet.
    """

    ledger: Ledger
    engines: dict[str, DeploymentHandle[Any] | str]
    batches: DeploymentHandle[Any] | None = None
    scaled: bool = True

    async def ledger_address(self) -> Address:
        """Ask the writer where it listens. Raises OSError while it cannot be reached."""
        return await writer_address(self.ledger)

    def engine(self, card: ModelCard) -> DeploymentHandle[Any]:
        """The model's deployment. Raises `RayServeException` while it is not deployed."""
        engine = self.engines[card.served_name]
        return serve.get_deployment_handle(engine_name(card), engine) if isinstance(engine, str) else engine


@serve.ingress()
class Gateway:
    """One gateway process. A new id at every start: holds carry it."""

    def __init__(
        self,
        catalog: Catalog,
        prices: list[Price],
        neighbours: Neighbours,
        client: type[LedgerClient],
        limits: ChatLimits,
        fetch: FetchLimits,
        files: str,
        buckets: tuple[str, ...],
        media: MediaLimits,
        *,
        logs_requests: bool,
        quota: Quota = QUOTA,
        origins: tuple[str, ...] = ALL_ORIGINS.allowed,
    ) -> None:
        self._catalog = catalog
        self._prices = {price.model: price for price in prices}
        self._neighbours = neighbours
        self._client = client
        self._limits = limits
        self._fetch = fetch
        self._files = files
        self._buckets = buckets
        self._media = media
        self._logs_requests = logs_requests
        self._quota = quota
        self._origins = Origins(origins)

    def __serve_build_asgi_app__(self) -> GatewayApp:
        """Called by Serve after the constructor. Raises `StoreFailed`."""
        export_if_asked()
        objects = open_objects(self._files)
        ledger = self._client(self._neighbours.ledger_address)
        keys = Keys(now_ms)
        instruments = Instruments((*request_metrics.TABLE, *metrics_levels.TABLE))
        fetcher, engines, metrics = (
            Fetcher(self._fetch),
            Engines(),
            ServeMetrics(instruments, _delimited(self._catalog)),
        )
        media = Media(fetcher, Buckets(self._buckets), FileStore(objects, now_ms), self._media)
        holder = ray.get_runtime_context().get_actor_name()
        books = Books(ledger, f"gw_{uuid.uuid4().hex}", time.monotonic, now_ms)
        router = ServeRouter(self._neighbours.engine, holder, QUEUE_WAIT_S)
        signals = Signals(self._catalog)
        messenger = Messenger(signals, holder)
        chat = ChatCompletions(
            self._catalog,
            self._prices,
            keys,
            media,
            books,
            router,
            engines,
            metrics,
            self._limits,
            signals,
            FleetWaking(router, messenger.news),
        )
        models = {card.id: card.served_name for card in self._catalog}
        levels = Levels(instruments, chat.forming, ledger, media.cache, models, messenger.undecided_s)
        refresh: list[asyncio.Task[None]] = []

        async def start() -> None:
            # What was loaded stays. Else Python's collector looks through all of it now and then, and the event loop stands
            # still meanwhile: nearly half a second where 10,000 keys were read.
            gc.collect()
            gc.freeze()
            ledger.start()
            refresh.append(asyncio.create_task(keep_fresh(keys, ledger)))
            refresh.append(asyncio.create_task(keep_ending(books.attempts, ledger)))
            refresh.append(asyncio.create_task(levels.keep_looking()))
            refresh.append(asyncio.create_task(messenger.run()))
            refresh.append(asyncio.create_task(router.listen(self._catalog)))

        async def stop() -> None:
            for task in refresh:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await router.close()
            await ledger.close(CLOSE_PATIENCE_S)
            await fetcher.close()
            media.close()
            await engines.close()

        self._built = GatewayApp(
            chat,
            self._catalog,
            keys,
            ledger,
            metrics,
            objects,
            now_ms,
            start,
            stop,
            explain=explain_by(messenger) if self._neighbours.scaled else unscaled,
            logs_requests=self._logs_requests,
            quota=self._quota,
            origins=self._origins,
        )
        return self._built

    async def run_line(self, key_id: str, name: str, body: bytes) -> Answered:
        """Called by the batch worker's handle: see `GatewayApp.run_line`."""
        return await self._built.run_line(key_id, name, body)


def _delimited(catalog: Catalog) -> frozenset[str]:
    """Models whose engine counts more as an image than its vision tokens."""
    return frozenset(
        card.served_name for card in catalog if card.engine.name == "vllm" and card.vision.vllm_counts_delimiters
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000
