"""The gateway without Ray, for `benchmarks.batching`: all of its own code and a real ledger; only reservations are played.

Reads one line of JSON, a `Setup`; prints a line of JSON, where it listens; ends with its standard input, and prints what its
ledger says.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic, time_ns

import uvicorn

from accounting.command import AddKey, AddPrice, Grant
from accounting.key import Scope, mint
from accounting.sqlite import SqliteStore
from benchmarks.stacks import CARDS, HOST, MODEL
from catalog import Catalog, ModelCard, load_catalog
from catalog.card import Slo
from deployments.files.objects import open_objects
from deployments.gateway.app import GatewayApp
from deployments.gateway.bill import Bill, Books
from deployments.gateway.engine import Engines
from deployments.gateway.errors import GatewayError
from deployments.gateway.forming import Former
from deployments.gateway.keys import Keys
from deployments.gateway.life import ChatCompletions, ChatLimits
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.slots import Replica, Reservation, Slots, Wish
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.server import LedgerServer
from deployments.port import free_port
from deployments.pricing import price_of

TENANTS = ("first", "second")
CLOSE_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Setup:
    """`engines` are URLs with their tokens. `forms`: without, every request passes at once, first come, first served, in the
    engine's own queue. `has_affinity`: without, replicas are random.
    """

    folder: str
    engines: dict[str, str]
    slo: dict[str, float]
    forms: bool = True
    has_affinity: bool = True


@dataclass(frozen=True, slots=True)
class Listening:
    url: str
    keys: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger says in the end."""

    faults: int
    holds_open: int
    charged: int


class LocalRouter:
    """A `Router` over engines that always have a slot."""

    def __init__(self, engines: dict[str, str], *, has_affinity: bool) -> None:
        self._replicas = {f"replica-{i}": Replica(f"replica-{i}", *one) for i, one in enumerate(engines.items())}
        self._has_affinity = has_affinity
        self._slots = Slots(self._reserved, lambda: tuple(self._replicas))

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        """See `Router.replica`."""
        if not self._has_affinity:
            wish = replace(wish, key=str(random.random()))
        slot = await self._slots.take(wait_s, wish)
        with self._slots.used(slot, wish.tokens):
            yield slot.replica

    def replicas(self, card: ModelCard) -> int:
        """See `Router.replicas`."""
        return len(self._replicas)

    async def close(self) -> None:
        await self._slots.close()

    @asynccontextmanager
    async def _reserved(self, wants: str) -> AsyncIterator[Reservation]:
        chosen = self._replicas.get(wants) or random.choice(list(self._replicas.values()))
        yield Reservation(chosen, asyncio.get_running_loop().create_future())


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


async def serve(setup: Setup) -> None:
    """Answer until standard input ends."""
    card = load_catalog(CARDS).find(MODEL).model_copy(update={"slo": Slo(**setup.slo)})
    if not setup.forms:
        Former._has_room = lambda self, *, is_batch: True  # type: ignore[method-assign]  # noqa: SLF001  # no former
    minted = {name: mint("org", name, name, (Scope.INFERENCE,)) for name in TENANTS}
    with closing(SqliteStore(Path(setup.folder) / "ledger.db", _now_ms)) as store:
        grants = [
            Grant(ref=f"grant-{name}", account=record.credit_account, amount_nano=10**15)
            for name, (_, record) in minted.items()
        ]
        store.apply([AddPrice(price_of(card)), *(AddKey(record) for _, record in minted.values()), *grants])
        server = LedgerServer(store, "token")
        address = Address(HOST, await server.start(HOST), "token")
        port = free_port(HOST)
        print(json.dumps(asdict(Listening(f"http://{HOST}:{port}", {name: key for name, (key, _) in minted.items()}))))
        sys.stdout.flush()
        await _listen(port, _app(card, setup, address))
        await server.stop()
        snapshot = store.snapshot()
        charged = sum(total.requests for total in snapshot.totals if total.charged_nano)
        print(json.dumps(asdict(Verdict(len(store.verify()), snapshot.holds_open, charged))), flush=True)


def _app(card: ModelCard, setup: Setup, address: Address) -> GatewayApp:
    async def locate() -> Address:
        return address

    ledger, keys = LedgerClient(locate), Keys(_now_ms)
    engines, fetcher, metrics = Engines(), Fetcher(FetchLimits()), Uncounted()
    router = LocalRouter(setup.engines, has_affinity=setup.has_affinity)
    price = price_of(card)
    chat = ChatCompletions(
        Catalog([card]), {price.model: price}, keys, Media(fetcher), Books(ledger, "gw_bench", monotonic, _now_ms),
        router, engines, metrics, ChatLimits(),
    )  # fmt: skip

    async def start() -> None:
        ledger.start()
        await keys.refresh(ledger)

    async def stop() -> None:
        await router.close()
        await ledger.close(CLOSE_PATIENCE_S)
        await engines.close()
        await fetcher.close()

    objects = open_objects(setup.folder)
    return GatewayApp(chat, Catalog([card]), keys, ledger, metrics, objects, _now_ms, start, stop, logs_requests=False)


async def _listen(port: int, app: GatewayApp) -> None:
    server = uvicorn.Server(uvicorn.Config(app, HOST, port, log_config=None, access_log=False, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


def _now_ms() -> int:
    return time_ns() // 1_000_000


if __name__ == "__main__":
    asyncio.run(serve(Setup(**json.loads(sys.stdin.readline()))))
