"""A gateway with a real ledger and a real HTTP engine around it; only Ray's part, finding a replica, is played."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pybase64

from accounting.command import AddKey, AddPrice, ChangeKey, Command, Grant, Hold, Result
from accounting.key import KeyRecord, Scope, mint
from accounting.leap import monotonic_ms
from accounting.price import ImageWork, Price, Work
from accounting.sqlite import SqliteStore
from accounting.store import Store
from catalog import Catalog, ModelCard, load_catalog
from deployments.files.objects import open_objects
from deployments.files.quota import QUOTA, Quota
from deployments.files.store import FileStore
from deployments.gateway.admin.scaling import Explain, nobody
from deployments.gateway.app import GatewayApp
from deployments.gateway.bill import POST_ACK_S, Bill, Books
from deployments.gateway.engine import Engines
from deployments.gateway.errors import GatewayError
from deployments.gateway.keys import Keys
from deployments.gateway.life import ChatCompletions, ChatLimits
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.slots import Replica, Wish
from deployments.gateway.waking import Waking
from deployments.ledger.client import Address, LedgerClient
from deployments.ledger.server import LedgerServer
from tests.gateway.client import Client
from tests.gateway.engine_server import TEXT_TOKENS, VISION_TOKENS, Engine, running_engine

CARD = load_catalog().find("demo-qwen2-vl")
PRICE = Price(
    model=CARD.served_name, version=1, unit_nano=10_000, batch_unit_nano=5_000, text_token_nano=1, output_token_nano=60
)
IMAGE_URL = "data:image/png;base64," + pybase64.b64encode_as_string(Path("demo/example.png").read_bytes())
NOW_MS = 1_000_000
LIMITS = ChatLimits()
# For one image and at most 600 tokens of output.
HOLD = Hold(
    request_id="request",
    gateway_id="gw_1",
    key_id="key",
    org_id="org",
    project_id="project",
    model=PRICE.model,
    price_version=PRICE.version,
    tier="default",
    image_units=(1,),
    output_units=1,
    tokens_max=916,
    amount_nano=60_000,
    body_sha="sha",
    expires_in_ms=60_000,
)
WORK = Work(images=(ImageWork(VISION_TOKENS),), text_tokens=300, output_tokens=600)
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def charge_nano(output_tokens: int, price: Price = PRICE) -> int:
    """What a question with one image costs after so many output tokens: one unit, the text, the output."""
    return price.unit_nano + TEXT_TOKENS * price.text_token_nano + output_tokens * price.output_token_nano


def question(**fields: Any) -> bytes:
    """The body of a request with one image."""
    content = [
        {"type": "image_url", "image_url": {"url": IMAGE_URL}},
        {"type": "text", "text": "What is in the image?"},
    ]
    return orjson.dumps({"model": "demo", "messages": [{"role": "user", "content": content}]} | fields)


class Clock:
    """Milliseconds UTC, for the gateway and its ledger; a test moves it."""

    ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


class OneReplica:
    """A `Router` with one replica that is always free."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.held = 0

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        self.held += 1
        try:
            yield Replica("replica-1", self.url, "engine-token")
        finally:
            self.held -= 1

    def replicas(self, card: ModelCard) -> int:
        return 1


class Counted:
    """`Metrics` as lists."""

    def __init__(self) -> None:
        self.outcomes: list[str | None] = []
        self.errors: list[int] = []
        self.waits_s: list[float] = []
        self.followers = 0

    def ended(self, bill: Bill, elapsed_s: float) -> None:
        self.outcomes.append(bill.outcome)

    def refused(self, error: GatewayError) -> None:
        self.errors.append(error.status)

    def queued(self, model: str, waited_s: float) -> None:
        self.waits_s.append(waited_s)

    def coalesced(self, model: str) -> None:
        self.followers += 1


class Writer:
    """The ledger's writer, which may be away; `locate` finds it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._address: Address | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        self._server = LedgerServer(self._store, "token")
        self._address = Address("127.0.0.1", await self._server.start("127.0.0.1"), "token")

    async def stop(self) -> None:
        self._address = None
        await self._server.stop()

    async def sweep(self) -> None:
        """What it does by itself every second."""
        await self._server.commits.ask(lambda store: store.sweep())

    async def locate(self) -> Address:
        if self._address is None:
            raise ConnectionError("the ledger's writer is not running")
        return self._address


@dataclass
class House:
    """Everything around one gateway. `admin_key` has the scope `manage` only; `record` is that of `key`."""

    app: GatewayApp
    key: str
    admin_key: str
    record: KeyRecord
    keys: Keys
    prices: dict[str, Price]
    engine: Engine
    router: OneReplica
    metrics: Counted
    writer: Writer
    books: Books
    clock: Clock
    file: Path
    chat: ChatCompletions

    @property
    def ledger(self) -> LedgerClient:
        return self.books.ledger

    async def ask(self, body: bytes, **headers: str) -> Client:
        return await Client(body, self.key, **headers).ask(self.app)

    def begin(self, body: bytes, **headers: str) -> tuple[Client, asyncio.Task[Client]]:
        """Ask, and do not wait for the end."""
        client = Client(body, self.key, **headers)
        return client, asyncio.create_task(client.ask(self.app))

    async def do(self, *commands: Command) -> list[Result]:
        """Have the ledger carry out commands, one after the other; the gateway knows the keys that there are then."""
        replies = await asyncio.gather(*map(self.ledger.submit, commands))
        await self.keys.refresh(self.ledger)
        return [reply.result for reply in replies]

    async def change_key(self, **fields: Any) -> None:
        """Change the record of `key`."""
        self.record = replace(self.record, **fields)
        assert await self.do(ChangeKey(self.record)) == [Result.CHANGED]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What is durable at this moment."""
        with closing(sqlite3.connect(self.file)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query)]

    def charged_nano(self, client: Client) -> int | None:
        """What the ledger has charged for an answer."""
        (row,) = self.rows(f"SELECT charged_nano FROM hold WHERE request_id = '{client.headers['x-vlm-request-id']}'")
        return row["charged_nano"]

    async def usage(self) -> list[dict[str, Any]]:
        """Hang up from the ledger, then read what it has: every row of every request that ended."""
        await self.ledger.close(5.0)
        assert self.rows("SELECT request_id FROM hold WHERE state = 'open'") == []
        return self.rows("SELECT * FROM usage ORDER BY created_at_ms")

    async def charges_nano(self) -> list[int]:
        """What each request that was charged has cost."""
        return [row["charged_nano"] for row in await self.usage() if row["charged_nano"]]


@asynccontextmanager
async def running_house(
    folder: Path,
    grant_nano: int = 10**9,
    limits: ChatLimits = LIMITS,
    wrap: type[Store] | None = None,
    files: str = "",
    waking: Waking | None = None,
    explain: Explain = nobody,
    post_ack_s: float = POST_ACK_S,
    quota: Quota = QUOTA,
) -> AsyncIterator[House]:
    """Start it all. `wrap` makes another store around the real one; `files`: where files lie, if not in `folder`."""
    file, clock = folder / "ledger.db", Clock()
    key, record = mint("org", "project", "key", (Scope.INFERENCE,))
    admin_key, admin_record = mint("org", "project", "admin", (Scope.MANAGE,))
    with closing(SqliteStore(file, clock, monotonic_ms)) as store:
        store.apply(
            [
                AddPrice(PRICE),
                AddKey(record),
                AddKey(admin_record),
                Grant(ref="g", account=record.credit_account, amount_nano=grant_nano),
            ]
        )
        writer = Writer(wrap(store) if wrap else store)
        ledger, engines, fetcher = LedgerClient(writer.locate), Engines(), Fetcher(FetchLimits())
        keys, metrics, objects = Keys(clock), Counted(), open_objects(files or str(folder / "files"))
        media = Media(fetcher, files=FileStore(objects, clock))

        async def start() -> None:
            ledger.start()
            await keys.refresh(ledger)

        async def stop() -> None:
            await ledger.close(5.0)
            await engines.close()
            media.close()

        async with writer.running(), running_engine() as engine:
            router = OneReplica(engine.url)
            catalog = Catalog([CARD])
            books = Books(ledger, "gw_1", lambda: 0.0, clock, post_ack_s)
            prices = {PRICE.model: PRICE}
            chat = ChatCompletions(catalog, prices, keys, media, books, router, engines, metrics, limits, waking=waking)
            app = GatewayApp(
                chat, catalog, keys, ledger, metrics, objects, clock, start, stop, explain=explain, quota=quota
            )
            await start()
            try:
                yield House(
                    app, key, admin_key, record, keys, prices, engine, router, metrics, writer, books, clock, file, chat
                )
            finally:
                await stop()
