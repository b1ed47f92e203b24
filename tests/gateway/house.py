"""A gateway with a real ledger and a real HTTP engine around it; only Ray's part, finding a replica, is played."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pybase64

from accounting.command import AddKey, AddPrice, Grant
from accounting.key import Scope, mint
from accounting.price import Price
from accounting.sqlite import SqliteStore
from accounting.store import Store
from catalog import Catalog, ModelCard, load_catalog
from deployments.gateway.app import GatewayApp
from deployments.gateway.bill import Bill, Books
from deployments.gateway.engine import Engines
from deployments.gateway.fetch import Fetcher, FetchLimits
from deployments.gateway.keys import Keys
from deployments.gateway.life import ChatCompletions, ChatLimits
from deployments.gateway.media import Media
from deployments.gateway.slots import Replica
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.server import LedgerServer
from tests.gateway.client import Client
from tests.gateway.engine_server import TEXT_TOKENS, Engine, running_engine

CARD = load_catalog().find("demo-qwen2-vl")
PRICE = Price(CARD.served_name, 1, unit_nano=10_000, batch_unit_nano=5_000, text_token_nano=1, output_token_nano=60)
IMAGE_URL = "data:image/png;base64," + pybase64.b64encode_as_string(Path("demo/example.png").read_bytes())
NOW_MS = 1_000_000
LIMITS = ChatLimits()


def charge_nano(output_tokens: int) -> int:
    """What a question with one image costs after so many output tokens: one unit, the text, the output."""
    return PRICE.unit_nano + TEXT_TOKENS * PRICE.text_token_nano + output_tokens * PRICE.output_token_nano


def question(**fields: Any) -> bytes:
    """The body of a request with one image."""
    content = [
        {"type": "image_url", "image_url": {"url": IMAGE_URL}},
        {"type": "text", "text": "What is in the image?"},
    ]
    return orjson.dumps({"model": "demo", "messages": [{"role": "user", "content": content}]} | fields)


class OneReplica:
    """A `Router` with one replica that is always free."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.held = 0

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float) -> AsyncIterator[Replica]:
        self.held += 1
        try:
            yield Replica("replica-1", self.url, "engine-token")
        finally:
            self.held -= 1


class Counted:
    """`Metrics` as lists."""

    def __init__(self) -> None:
        self.outcomes: list[str | None] = []
        self.errors: list[int] = []

    def ended(self, bill: Bill) -> None:
        self.outcomes.append(bill.outcome)

    def refused(self, status: int) -> None:
        self.errors.append(status)


@dataclass
class House:
    """Everything around one gateway. `admin_key` has the scope `manage` only."""

    app: GatewayApp
    key: str
    admin_key: str
    keys: Keys
    engine: Engine
    router: OneReplica
    metrics: Counted
    server: LedgerServer
    ledger: LedgerClient
    file: Path

    async def ask(self, body: bytes, **headers: str) -> Client:
        return await Client(body, self.key, **headers).ask(self.app)

    async def usage(self) -> list[dict[str, Any]]:
        """Hang up from the ledger, then read what it has: every row of every request that ended."""
        await self.ledger.close(5.0)
        with closing(sqlite3.connect(self.file)) as db:
            db.row_factory = sqlite3.Row
            assert db.execute("SELECT count(*) FROM hold WHERE state = 'open'").fetchone()[0] == 0
            return [dict(row) for row in db.execute("SELECT * FROM usage ORDER BY created_at_ms")]


@asynccontextmanager
async def running_house(
    folder: Path, grant_nano: int = 10**9, limits: ChatLimits = LIMITS, wrap: type[Store] | None = None
) -> AsyncIterator[House]:
    """Start it all. `wrap` makes another store around the real one."""
    file = folder / "ledger.db"
    key, record = mint("org", "project", "key", (Scope.INFERENCE,))
    admin_key, admin_record = mint("org", "project", "admin", (Scope.MANAGE,))
    with closing(SqliteStore(file, lambda: NOW_MS)) as store:
        store.apply(
            [AddPrice(PRICE), AddKey(record), AddKey(admin_record), Grant("g", record.credit_account, grant_nano)]
        )
        server = LedgerServer(wrap(store) if wrap else store, "token")
        address = Address("127.0.0.1", await server.start("127.0.0.1"), "token")

        async def locate() -> Address:
            return address

        ledger, engines, fetcher = LedgerClient(locate), Engines(), Fetcher(FetchLimits())
        keys, metrics = Keys(lambda: NOW_MS), Counted()

        async def start() -> None:
            ledger.start()
            keys.replace(await ledger.keys())

        async def stop() -> None:
            await ledger.close(5.0)
            await engines.close()

        async with running_engine() as engine:
            router = OneReplica(engine.url)
            catalog = Catalog([CARD])
            books = Books(ledger, "gw_1", lambda: 0.0)
            prices = {PRICE.model: PRICE}
            chat = ChatCompletions(catalog, prices, keys, Media(fetcher), books, router, engines, metrics, limits)
            app = GatewayApp(chat, catalog, keys, ledger, metrics, start, stop)
            await start()
            yield House(app, key, admin_key, keys, engine, router, metrics, server, ledger, file)
            await stop()
        await server.stop()
