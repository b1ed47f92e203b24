"""One HTTP exchange over raw ASGI: a bounded body in, one answer or a stream out."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from deployments.gateway.compression import decompressed, encoding_of
from deployments.gateway.errors import BadRequest, BodyTooSlow, EncodingNotTaken, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# A body comes at this rate on average, after a moment of grace: a telephone's uplink does, a connection that is kept for
# nothing does not.
BODY_GRACE_S = 30.0
BODY_BYTES_PER_S_MIN = 16 * 2**10
# Python reads no number of thousands of digits.
LENGTH_DIGITS_MAX = 18


class ClientLeft(Exception):
    """The client closed the connection before the answer was complete."""


class Exchange:
    """A request and its answer. `started` is True once the status line is on its way: later failures are events."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self._headers = {name.lower(): value for name, value in scope["headers"]}
        self._receive = receive
        self._send = send
        # Told of every piece of the body before it is kept; may refuse it.
        self.grow: Callable[[int], None] = lambda size_bytes: None
        self.started = False
        # Something is on its way to the client, who may take its time.
        self.is_sending = False
        self.status = 0
        # Headers of whatever is answered.
        self.adds: list[tuple[bytes, bytes]] = []
        # What the log says of this request: see `request_log.py`.
        self.notes: dict[str, str | None] = {}
        self._began_s = time.monotonic()
        self.ended = False

    def elapsed_s(self) -> float:
        """How long ago the request began."""
        return time.monotonic() - self._began_s

    def header(self, name: str) -> str | None:
        """A request header, by its lower-case name."""
        value = self._headers.get(name.encode())
        return value.decode("latin-1") if value is not None else None

    @property
    def is_head(self) -> bool:
        """Whether the answer is wanted without its body."""
        return self.method == "HEAD"

    async def body(self, bytes_max: int) -> bytes:
        """Read the whole body, decompressed. Raises `TooLarge` from Content-Length alone, or as soon as the bytes are too
        many, and `EncodingNotTaken`.
        """
        encoding = encoding_of(self.header("content-encoding"))
        body = b"".join([chunk async for chunk in self._pieces(bytes_max)])
        if encoding and body:
            packed, body = body, await asyncio.to_thread(decompressed, body, encoding, bytes_max)
            self.grow(max(0, len(body) - len(packed)))
        if not body:
            raise BadRequest("The body is empty. Send a JSON object.")
        return body

    async def chunks(self, bytes_max: int) -> AsyncIterator[bytes]:
        """The body as it comes, which is not compressed. Raises as `body` does."""
        if encoding_of(self.header("content-encoding")):
            raise EncodingNotTaken
        async for chunk in self._pieces(bytes_max):
            yield chunk

    async def _pieces(self, bytes_max: int) -> AsyncIterator[bytes]:
        length = self.header("content-length")
        if length is not None and not _is_within(length, bytes_max):
            raise TooLarge(bytes_max)
        size, more = 0, True
        while more:
            message = await self._piece(size)
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > bytes_max:
                raise TooLarge(bytes_max)
            self.grow(len(chunk))
            yield chunk

    async def _piece(self, size: int) -> Message:
        """The next message, when `size` bytes of a body have come. Raises `BodyTooSlow`."""
        left_s = BODY_GRACE_S + size / BODY_BYTES_PER_S_MIN - self.elapsed_s()
        if left_s <= 0:
            raise BodyTooSlow
        try:
            async with asyncio.timeout(left_s):
                return await self._receive()
        except TimeoutError:
            raise BodyTooSlow from None

    async def start(self, status: int, media_type: bytes | None, headers: Headers = ()) -> None:
        """`media_type` is None for an answer that has no body."""
        self.started, self.status = True, status
        of_body = [(b"content-type", media_type)] if media_type else []
        all_headers = [*of_body, *headers, *self.adds]
        await self._put({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, data: bytes) -> None:
        if not self.is_head:
            await self._put({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        self.ended = True
        await self._put({"type": "http.response.body", "body": b"" if self.is_head else data, "more_body": False})

    async def _put(self, message: Message) -> None:
        """Ends without `is_sending` being taken back if it is interrupted."""
        self.is_sending = True
        await self._send(message)
        self.is_sending = False

    async def answer(
        self, status: int, body: bytes, headers: Headers = (), media_type: bytes = b"application/json"
    ) -> None:
        """Send a whole answer."""
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, media_type, [length, *headers])
        await self.end(body)

    async def answer_json(self, data: Any, headers: Headers = ()) -> None:
        await self.answer(200, orjson.dumps(data), headers)

    @asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Run the block; if the client closes the connection meanwhile, end it with `ClientLeft`.

        The body must have been read. Under a server that cancels the request's task itself, the block ends with that
        `CancelledError` instead.
        """
        task = asyncio.current_task()
        assert task is not None
        left = False

        async def watch() -> None:
            nonlocal left
            while (await self._receive())["type"] != "http.disconnect":
                pass
            # A server says "disconnect" after a complete answer, too.
            if not self.ended:
                left = True
                task.cancel()

        watcher = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if left and task.uncancel() == 0:
                raise ClientLeft from None
            raise
        finally:
            watcher.cancel()


def _is_within(length: str, bytes_max: int) -> bool:
    return length.isascii() and length.isdigit() and len(length) <= LENGTH_DIGITS_MAX and int(length) <= bytes_max
