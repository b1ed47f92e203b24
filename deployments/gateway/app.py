"""The gateway's endpoints, as one raw ASGI app: no framework stands between a request and its life."""

from collections.abc import Awaitable, Callable

from accounting import questions
from accounting.key import Scope as KeyScope
from catalog import Catalog
from deployments.batches.book import Book
from deployments.batches.line import Answered
from deployments.files.objects import Objects
from deployments.files.quota import QUOTA, Quota
from deployments.files.store import FileStore
from deployments.gateway import cors, request_log, trace
from deployments.gateway.admin import Admin
from deployments.gateway.admin.scaling import Explain, nobody
from deployments.gateway.asgi import ClientLeft, Exchange, Receive, Scope, Send
from deployments.gateway.batches import Batches
from deployments.gateway.cors import ALL_ORIGINS, Origins
from deployments.gateway.desk import Desk
from deployments.gateway.errors import (
    EngineFailed,
    GatewayError,
    GatewayStarting,
)
from deployments.gateway.files import Files
from deployments.gateway.generation import Generations
from deployments.gateway.keys import Keys
from deployments.gateway.life import ChatCompletions
from deployments.gateway.line import LineExchange, idempotency_key
from deployments.gateway.metrics import Metrics
from deployments.gateway.metrics_fleet import exposition
from deployments.gateway.metrics_hour import LastHour
from deployments.gateway.models import deployed, model_object
from deployments.gateway.routes import Route, Routes
from deployments.gateway.usage import Usage
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

# Of a WebSocket that is refused before it opens, which a server answers with 403.
POLICY_VIOLATION = 1008


class GatewayApp:
    """Routes requests to handlers, and turns what they raise into answers. `start` and `stop` are its lifespan."""

    def __init__(
        self,
        chat: ChatCompletions,
        catalog: Catalog,
        keys: Keys,
        ledger: LedgerClient,
        metrics: Metrics,
        objects: Objects,
        now_ms: Callable[[], int],
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
        *,
        explain: Explain = nobody,
        quota: Quota = QUOTA,
        logs_requests: bool = True,
        origins: Origins = ALL_ORIGINS,
    ) -> None:
        self._chat = chat
        self._catalog = catalog
        self._keys = keys
        self._metrics = metrics
        self._logs_requests = logs_requests
        self._origins = origins
        self._start = start
        self._stop = stop
        self._desk = desk = Desk(ledger)
        self._last_hour = LastHour(desk, catalog, now_ms)
        files = FileStore(objects, now_ms, quota)
        self._routes = Routes(
            [
                Route("POST", "/v1/chat/completions", chat),
                Route("GET", "/v1/models", self._models),
                Route("GET", "/v1/models/{name...}", self._model),
                Route("GET", "/v1/generation", Generations(desk, keys, now_ms)),
                *Files(files, keys, chat.arrivals).routes(),
                *Batches(Book(objects), files, keys, now_ms).routes(),
                *Usage(desk, keys, catalog, now_ms).routes(),
                *Admin(desk, keys, catalog, now_ms, explain).routes(),
                Route("GET", "/healthz", self._healthz),
                Route("GET", "/readyz", self._readyz),
                Route("GET", "/metrics", self._fleet_metrics),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        exchange = Exchange(scope, receive, send)
        exchange.adds += self._origins.headers(exchange.header("origin"))
        with trace.request(exchange):
            await self._answer(exchange, lambda: self._handle(exchange))

    async def _handle(self, exchange: Exchange) -> None:
        """A browser asks before it calls, without a key: whether there is such a path it learns from the call."""
        if exchange.method == "OPTIONS":
            await exchange.start(204, None, cors.PREFLIGHT)
            await exchange.end()
            return
        await self._routes.find(exchange.method, exchange.path)(exchange)

    async def run_line(self, key_id: str, name: str, body: bytes) -> Answered:
        """A line of a batch, for the key that made the batch: a request's whole life, in this process."""
        line = LineExchange(body)

        async def run() -> None:
            key = self._keys.of_id(key_id, KeyScope.INFERENCE)
            await self._chat.run(line.exchange, key, idempotency_key(name))

        with trace.request(line.exchange):
            await self._answer(line.exchange, run)
        return line.answered()

    async def _answer(self, exchange: Exchange, handle: Callable[[], Awaitable[None]]) -> None:
        """Have it handled; what is raised becomes the answer."""
        told: GatewayError | None = None
        try:
            await handle()
        except ClientLeft:
            pass
        except GatewayError as error:
            told = error
            await exchange.answer(error.status, error.encoded(), error.headers())
        except Exception:
            # The last boundary: a defect of ours is logged whole and told as a 500.
            logger.exception("a request failed by a defect")
            told = EngineFailed()
            if not exchange.started:
                await exchange.answer(told.status, told.encoded())
        finally:
            if told is not None:
                self._metrics.refused(told)
            if self._logs_requests:
                request_log.log(exchange, told)

    async def _models(self, exchange: Exchange) -> None:
        key = self._keys.authenticate(exchange.header("authorization"), None)
        usable = [model_object(card) for card in self._catalog if key.may_use(card.served_name)]
        await exchange.answer_json({"object": "list", "data": usable})

    async def _model(self, exchange: Exchange, name: str) -> None:
        self._keys.authenticate(exchange.header("authorization"), None)
        await exchange.answer_json(model_object(deployed(self._catalog, name)))

    async def _healthz(self, exchange: Exchange) -> None:
        await exchange.answer_json({"status": "ok"})

    async def _readyz(self, exchange: Exchange) -> None:
        if not self._keys.loaded:
            raise GatewayStarting
        await exchange.answer_json({"status": "ready"})

    async def _fleet_metrics(self, exchange: Exchange) -> None:
        self._keys.authenticate(exchange.header("authorization"), KeyScope.MANAGE)
        text = exposition(await self._desk.ask(questions.FleetTotals()), await self._last_hour.look())
        await exchange.answer(200, text, media_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})
