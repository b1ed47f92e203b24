"""A line of a batch as a request: an exchange in memory, as if a client of HTTP had sent it."""

import asyncio
from typing import Any

from deployments.batches.line import Answered
from deployments.gateway.asgi import Exchange, Message

# A header is Latin-1, and a client's `Idempotency-Key` with it: none can be one of these.
LINE = "\N{RIGHTWARDS ARROW}"
HEADERS = [(b"content-type", b"application/json"), (b"x-tier", b"batch")]


class LineExchange:
    """Keeps what it is answered. Its client never leaves."""

    def __init__(self, body: bytes) -> None:
        scope = {"method": "POST", "path": "/v1/chat/completions", "headers": HEADERS}
        self.exchange = Exchange(scope, self._receive, self._send)
        self._requests = [{"type": "http.request", "body": body, "more_body": False}]
        self._sent: list[Message] = []

    def answered(self) -> Answered:
        """The whole answer."""
        start, *parts = self._sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answered(start["status"], headers, b"".join(part["body"] for part in parts))

    async def _receive(self) -> Any:
        if self._requests:
            return self._requests.pop()
        return await asyncio.get_running_loop().create_future()

    async def _send(self, message: Message) -> None:
        self._sent.append(message)


def idempotency_key(name: str) -> str:
    """What the ledger calls the line of this name."""
    return LINE + name
