"""Servers that make much work of few bytes, read by a `Fetcher`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.fetch import Fetcher, FetchLimits

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# Beyond any test: what ends is ended by something else.
LIMITS = FetchLimits(timeout_s=3600, allowed_networks=("127.0.0.0/8",))


@asynccontextmanager
async def server(first: bytes, *, again: bytes = b"") -> AsyncIterator[str]:
    """Answers with this, and goes on with `again` for as long as anybody reads."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        try:
            while again:
                writer.write(again)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        listening.close()


async def fetched(url: str) -> bytes:
    fetcher = Fetcher(LIMITS)
    try:
        return await fetcher.fetch(url, 20 * 2**20)
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" * 100),
        (HEAD, b"1\r\nx\r\n" * 1000),
        (HEAD, b"1;" + b"a" * 100 + b"\r\nx\r\n"),
    ],
    ids=["early hints", "headers of nothing", "chunks of a byte", "chunks with extensions"],
)
async def test_a_response_of_next_to_no_content_is_broken_off(first: bytes, again: bytes):
    """It would go on for as long as it may, and each byte of it is work."""
    async with server(first, again=again) as url:
        with pytest.raises(Fault) as refused:
            await fetched(url)
    assert refused.value.code == "failed_to_download_image"


async def test_what_servers_send_is_read():
    """Small chunks, an informational response before the answer, and heads of some kilobytes."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    head = HEAD[:-2] + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 200) for i in range(100)) + b"\r\n"
    async with server(hint + head + b"10\r\n0123456789abcdef\r\n" * 20_000 + b"0\r\n\r\n") as url:
        assert await fetched(url) == b"0123456789abcdef" * 20_000
