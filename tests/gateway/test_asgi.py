import asyncio
import gzip
from typing import Any

import pytest

from deployments.gateway import asgi
from deployments.gateway.asgi import ClientLeft, Exchange
from deployments.gateway.errors import BadRequest, BodyTooSlow, EncodingNotTaken, RateLimited, TooLarge

LEFT = {"type": "http.disconnect"}


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Wire:
    """An ASGI server's two ends, as lists: what it has received for the app, and what the app sends."""

    def __init__(self, *received: dict[str, Any]) -> None:
        self.received = list(received)
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self.received:
            await self.gone.wait()
            return LEFT
        return self.received.pop(0)

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def exchange(self, method: str = "POST", **headers: str) -> Exchange:
        pairs = [(name.replace("_", "-").title().encode(), value.encode()) for name, value in headers.items()]
        return Exchange({"method": method, "path": "/", "headers": pairs}, self.receive, self.send)


async def test_a_body_is_read_whole():
    """Its parts are joined, up to and including the cap."""
    wire = Wire(part(b"abc", more=True), part(b"def"))
    assert await wire.exchange(content_length="6").body(6) == b"abcdef"


@pytest.mark.parametrize("length", ["7", "99999999999999999999", "9" * 5000, "-1", "many", ""])
async def test_content_length_alone_is_enough_to_refuse(length: str):
    """A body that says it is too long, or says nothing sensible, is not read at all."""
    wire = Wire(part(b"abcdefg"))
    with pytest.raises(TooLarge):
        await wire.exchange(content_length=length).body(6)
    assert wire.received == [part(b"abcdefg")]


async def test_a_body_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asgi, "BODY_GRACE_S", 0.05)
    wire = Wire(part(b"abc", more=True))
    with pytest.raises(BodyTooSlow):
        await wire.exchange().body(6)


async def test_a_large_body_has_time_in_proportion(monkeypatch: pytest.MonkeyPatch):
    """What has come buys the time for the next piece."""
    monkeypatch.setattr(asgi, "BODY_GRACE_S", -1.0)
    monkeypatch.setattr(asgi, "BODY_BYTES_PER_S_MIN", 1)
    exchange = Wire(part(b"a" * 60, more=True), part(b"b")).exchange()
    with pytest.raises(BodyTooSlow):
        await exchange.body(100)
    monkeypatch.setattr(asgi, "BODY_GRACE_S", 1.0)
    assert len(await Wire(part(b"a" * 60, more=True), part(b"b")).exchange().body(100)) == 61


async def test_who_counts_the_bytes_may_refuse_them():
    """Before the piece is kept, and before the next is read."""
    wire = Wire(part(b"abc", more=True), part(b"def"))
    exchange, counted = wire.exchange(), []

    def grow(size_bytes: int) -> None:
        counted.append(size_bytes)
        raise RateLimited("bytes_in_flight", 1_000)

    exchange.grow = grow
    with pytest.raises(RateLimited):
        await exchange.body(6)
    assert (counted, wire.received) == ([3], [part(b"def")])


@pytest.mark.parametrize("headers", [{}, {"content_length": "3"}])
async def test_a_body_is_counted_as_it_comes(headers: dict[str, str]):
    """Without a length, or with a false one, reading ends with the part that is too much."""
    wire = Wire(part(b"abc", more=True), part(b"defg", more=True), part(b"never read"))
    with pytest.raises(TooLarge):
        await wire.exchange(**headers).body(6)
    assert wire.received == [part(b"never read")]


async def test_an_empty_body_is_refused():
    """The error says what to send."""
    with pytest.raises(BadRequest, match="JSON object"):
        await Wire(part(b"")).exchange().body(6)


async def test_a_client_can_leave_while_its_body_is_read():
    """Half a request is not answered."""
    with pytest.raises(ClientLeft):
        await Wire(part(b"abc", more=True), LEFT).exchange().body(6)


async def test_an_answer_has_its_length_and_its_type():
    """A whole answer is one start and one end."""
    wire = Wire()
    exchange = wire.exchange()
    await exchange.answer(404, b"{}", [(b"x-a", b"b")])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"x-a", b"b")]
    assert wire.sent == [
        {"type": "http.response.start", "status": 404, "headers": headers},
        {"type": "http.response.body", "body": b"{}", "more_body": False},
    ]
    assert exchange.started
    assert exchange.ended


def test_headers_are_found_whatever_their_case():
    """HTTP/1 headers come in any case; an absent one is None."""
    exchange = Wire().exchange(x_stainless_read_timeout="60")
    assert exchange.header("x-stainless-read-timeout") == "60"
    assert exchange.header("authorization") is None


async def test_work_ends_when_the_client_leaves():
    """The block is interrupted where it waits."""
    wire = Wire(part(b""))
    wire.gone.set()
    with pytest.raises(ClientLeft):
        async with wire.exchange().while_connected():
            await asyncio.Event().wait()


async def test_a_disconnect_after_the_end_is_no_leaving():
    """Servers say "disconnect" after a complete answer too; what still runs then is not interrupted."""
    wire = Wire()
    exchange = wire.exchange()
    async with exchange.while_connected():
        await exchange.end()
        wire.gone.set()
        for _ in range(10):  # let the watcher see it
            await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one():
    """A server that cancels the request's task sees it end as cancelled."""
    wire, entered = Wire(), asyncio.Event()

    async def request() -> None:
        async with wire.exchange().while_connected():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_of_the_block_comes_through():
    """Watching changes nothing about what the block raises, and ends with it."""
    wire = Wire()
    with pytest.raises(ZeroDivisionError):
        async with wire.exchange().while_connected():
            raise ZeroDivisionError
    wire.gone.set()
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_compressed_body_is_decompressed_under_the_same_cap():
    """And counted as what it is."""
    packed, counted = gzip.compress(b"a" * 1000), []
    exchange = Wire(part(packed)).exchange(content_encoding="gzip")
    exchange.grow = counted.append
    assert await exchange.body(1000) == b"a" * 1000
    assert sum(counted) == 1000
    with pytest.raises(TooLarge):
        await Wire(part(packed)).exchange(content_encoding="gzip").body(999)


async def test_a_body_that_cannot_be_decompressed_is_not_read():
    wire = Wire(part(b"abc"), part(b"def"))
    with pytest.raises(EncodingNotTaken):
        await wire.exchange(content_encoding="zstd").body(6)
    with pytest.raises(EncodingNotTaken):
        [chunk async for chunk in wire.exchange(content_encoding="gzip").chunks(6)]
    assert len(wire.received) == 2


async def test_a_head_is_answered_without_the_body():
    """Its length is told all the same."""
    wire = Wire()
    await wire.exchange("HEAD").answer(200, b"abc")
    start, body = wire.sent
    assert (b"content-length", b"3") in start["headers"]
    assert body == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_what_is_added_comes_with_whatever_is_answered():
    wire = Wire()
    exchange = wire.exchange()
    exchange.adds.append((b"x-vlm-ignored", b"verbosity"))
    await exchange.answer(400, b"{}")
    assert (b"x-vlm-ignored", b"verbosity") in wire.sent[0]["headers"]
