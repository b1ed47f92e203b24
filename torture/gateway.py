"""A gateway, as its Serve deployment builds it, without Ray: all of its own code, behind a real HTTP server."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import uvicorn

from accounting.price import Price
from catalog import Catalog, ModelCard
from deployments.files.objects import open_objects
from deployments.gateway.app import GatewayApp
from deployments.gateway.attempts import keep_ending
from deployments.gateway.bill import Bill, Books
from deployments.gateway.engine import Engines
from deployments.gateway.errors import GatewayError
from deployments.gateway.keys import Keys, keep_fresh
from deployments.gateway.life import ChatCompletions, ChatLimits
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.slots import Replica, Wish
from deployments.ledger.client import Address, LedgerClient
from torture.writer import clock_ms, read_address

CLOSE_PATIENCE_S = 10.0
# Shorter than the fleet's: a writer that hangs need not hang for as long.
POST_ACK_S = 1.0


class OneReplica:
    """A `Router` with one replica that always has a slot."""

    def __init__(self, url: str) -> None:
        self._replica = Replica("replica-1", url, "engine-token")

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        """See `Router.replica`."""
        yield self._replica

    def replicas(self, card: ModelCard) -> int:
        """See `Router.replicas`."""
        return 1


class Uncounted:
    """`Metrics` that nobody reads."""

    def ended(self, bill: Bill, elapsed_s: float) -> None:
        """See `Metrics.ended`."""

    def refused(self, error: GatewayError) -> None:
        """See `Metrics.refused`."""

    def queued(self, model: str, waited_s: float) -> None:
        """See `Metrics.queued`."""

    def coalesced(self, model: str) -> None:
        """See `Metrics.coalesced`."""


async def serve(host: str, port: int, card: ModelCard, price: Price, address_file: Path, engine_url: str) -> None:
    """Answer until killed, or until SIGTERM: then what is in hand is finished first."""
    app = build_app(card, price, address_file, engine_url)
    config = uvicorn.Config(app, host, port, log_config=None, access_log=False, lifespan="on")
    await uvicorn.Server(config).serve()


def build_app(card: ModelCard, price: Price, address_file: Path, engine_url: str) -> GatewayApp:
    """The gateway's composition, as in `deployments/gateway/gateway.py`."""

    async def locate() -> Address:
        return read_address(address_file)

    catalog, keys, ledger = Catalog([card]), Keys(now_ms), LedgerClient(locate)
    fetcher, engines, metrics = Fetcher(FetchLimits()), Engines(), Uncounted()
    objects = open_objects(str(address_file.parent / "files"))
    books = Books(ledger, f"gw_{uuid.uuid4().hex}", time.monotonic, now_ms, POST_ACK_S)
    chat = ChatCompletions(
        catalog,
        {price.model: price},
        keys,
        Media(fetcher),
        books,
        OneReplica(engine_url),
        engines,
        metrics,
        ChatLimits(),
    )
    refresh: list[asyncio.Task[None]] = []

    async def start() -> None:
        ledger.start()
        refresh.append(asyncio.create_task(keep_fresh(keys, ledger)))
        refresh.append(asyncio.create_task(keep_ending(books.attempts, ledger)))

    async def stop() -> None:
        for task in refresh:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await ledger.close(CLOSE_PATIENCE_S)
        await engines.close()

    return GatewayApp(chat, catalog, keys, ledger, metrics, objects, now_ms, start, stop)


def now_ms() -> int:
    """The gateway's clock: right, whatever the writer's is."""
    return clock_ms(0)
