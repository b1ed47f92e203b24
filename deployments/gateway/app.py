"""The gateway's endpoints, as one raw ASGI app: no framework stands between a request and its life."""

from collections.abc import Awaitable, Callable

from accounting.key import Scope as KeyScope
from catalog import Catalog
from deployments.gateway.asgi import ClientLeft, Exchange, Receive, Scope, Send
from deployments.gateway.errors import (
    EngineFailed,
    GatewayError,
    GatewayStarting,
    LedgerUnavailable,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
)
from deployments.gateway.keys import Keys
from deployments.gateway.life import ChatCompletions
from deployments.gateway.metrics import Metrics, exposition
from deployments.gateway.models import model_object
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

Handler = Callable[[Exchange], Awaitable[None]]
MODEL_PATH = "/v1/models/"


class GatewayApp:
    """Routes requests to handlers, and turns what they raise into answers. `start` and `stop` are its lifespan."""

    def __init__(
        self,
        chat: ChatCompletions,
        catalog: Catalog,
        keys: Keys,
        ledger: LedgerClient,
        metrics: Metrics,
        start: Callable[[], Awaitable[None]],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self._catalog = catalog
        self._keys = keys
        self._ledger = ledger
        self._metrics = metrics
        self._start = start
        self._stop = stop
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", chat),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
            "/metrics": ("GET", self._fleet_metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        exchange = Exchange(scope, receive, send)
        try:
            await self._handler(exchange)(exchange)
        except ClientLeft:
            pass
        except GatewayError as error:
            self._metrics.refused(error.status)
            await exchange.answer(error.status, error.encoded(), error.headers())
        except Exception:
            # The last boundary: a defect of ours is logged whole and told as a 500.
            logger.exception("a request failed by a defect")
            if not exchange.started:
                failure = EngineFailed()
                await exchange.answer(failure.status, failure.encoded())

    def _handler(self, exchange: Exchange) -> Handler:
        path = exchange.path
        method, handler = self._routes.get(path) or ("GET", self._model if path.startswith(MODEL_PATH) else None)
        if handler is None:
            raise NotFound
        if exchange.method != method:
            raise MethodNotAllowed(method)
        return handler

    async def _models(self, exchange: Exchange) -> None:
        self._keys.authenticate(exchange.header("authorization"), None)
        await exchange.answer_json({"object": "list", "data": [model_object(card) for card in self._catalog]})

    async def _model(self, exchange: Exchange) -> None:
        self._keys.authenticate(exchange.header("authorization"), None)
        card = self._catalog.find(exchange.path.removeprefix(MODEL_PATH))
        if card is None:
            raise ModelNotFound
        await exchange.answer_json(model_object(card))

    async def _healthz(self, exchange: Exchange) -> None:
        await exchange.answer_json({"status": "ok"})

    async def _readyz(self, exchange: Exchange) -> None:
        if not self._keys.loaded:
            raise GatewayStarting
        await exchange.answer_json({"status": "ready"})

    async def _fleet_metrics(self, exchange: Exchange) -> None:
        self._keys.authenticate(exchange.header("authorization"), KeyScope.MANAGE)
        if not self._ledger.connected:
            raise LedgerUnavailable
        text = exposition(await self._ledger.snapshot())
        await exchange.answer(200, text, media_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})
