"""A gateway's address and a key that abuses it: HTTP as a client sends it, and bytes as none does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Door:
    """`url` without a path; `models` are those that the key may ask."""

    url: str
    key: str
    models: tuple[str, ...]
    client: httpx.AsyncClient

    async def post(self, path: str, content: bytes, **headers: str) -> str:
        """What came of it: the status, and the error's code if there is one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.post(path, content=content, headers={"content-type": "application/json"} | named)
        return outcome(response)

    async def chat(self, body: dict[str, Any], **headers: str) -> str:
        return await self.post("/v1/chat/completions", json.dumps(body).encode(), **headers)

    @asynccontextmanager
    async def socket(self, sent: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which these bytes were sent; it is dropped at the end."""
        place = httpx.URL(self.url)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        try:
            writer.write(sent)
            await writer.drain()
            yield reader, writer
        finally:
            writer.transport.abort()

    def head(self, path: str, *lines: str, method: str = "POST") -> bytes:
        """A request's line and headers, the key among them, without the empty line behind them."""
        all_lines = [f"{method} {path} HTTP/1.1", "Host: fleet", f"Authorization: Bearer {self.key}", *lines]
        return "".join(f"{line}\r\n" for line in all_lines).encode()


@asynccontextmanager
async def opened(url: str, key: str, models: tuple[str, ...]) -> AsyncIterator[Door]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        yield Door(url, key, models, client)


def outcome(response: httpx.Response) -> str:
    """Status, and the code of an error."""
    code = None
    with suppress(ValueError, LookupError, TypeError):
        code = response.json()["error"]["code"]
    return f"{response.status_code} {code}" if code else str(response.status_code)


async def said(reader: asyncio.StreamReader, patience_s: float) -> str:
    """What a server answers on a socket: its status, "closed", or "silent"."""
    try:
        async with asyncio.timeout(patience_s):
            line = await reader.readline()
    except TimeoutError:
        return "silent"
    except ConnectionError:
        return "closed"
    return line.split()[1].decode("latin-1") if len(line.split()) > 1 else "closed"
