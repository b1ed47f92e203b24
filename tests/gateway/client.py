"""A client of an ASGI app, as a server shows it to the app; it may leave before its answer is complete."""

import asyncio
from typing import Any

import orjson

from deployments.gateway.app import GatewayApp


class Client:
    """One request. Everything the app sends is in `sent`, in order."""

    def __init__(
        self, body: bytes = b"", key: str = "", path: str = "/v1/chat/completions", method: str = "POST", **headers: str
    ) -> None:
        self.sent: list[dict[str, Any]] = []
        self.stays_for: int | None = None
        self.reads: int | None = None  # so many parts of the body; then it stays, and takes no more
        self.gone = asyncio.Event()
        self._news = asyncio.Condition()
        pairs = headers | {"authorization": f"Bearer {key}"}
        path, _, query = path.partition("?")
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()],
        }
        self._request: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def ask(self, app: GatewayApp) -> "Client":
        await app(self._scope, self._receive, self._send)
        return self

    def sends_for_ever(self, beginning: bytes) -> None:
        """The body begins so, and nothing more comes."""
        self._request = [{"type": "http.request", "body": beginning, "more_body": True}]

    def leave(self) -> None:
        self.gone.set()

    async def has(self, parts: int) -> None:
        """Wait until so many parts of the body have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.sent) > parts)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream, parsed; the last one of a complete stream is "[DONE]"."""
        payloads = [event.removeprefix(b"data: ") for event in self.body.split(b"\n\n") if event]
        return [payload.decode() if payload == b"[DONE]" else orjson.loads(payload) for payload in payloads]

    async def _receive(self) -> dict[str, Any]:
        if self._request:
            return self._request.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.reads is not None and len(self.sent) > self.reads:
            await asyncio.Event().wait()
        self.sent.append(message)
        async with self._news:
            self._news.notify_all()
        # The status line is the first message. A server says "disconnect" after the end, too.
        if self.complete or (self.stays_for is not None and len(self.sent) - 1 >= self.stays_for):
            self.leave()
