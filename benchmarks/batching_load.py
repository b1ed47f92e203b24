"""Load for `benchmarks.batching`: streamed questions about pictures of two sizes, in a closed or an open loop."""

import asyncio
import io
import json
import random
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import aiohttp
import numpy as np
from PIL import Image

from benchmarks.stacks import MODEL
from benchmarks.workload import BLOCKS

THUMBNAIL_PX = 56
# As many pixels as the model takes: 35 x 35 tokens, and 4 of a thumbnail.
PAGE_PX = 980
PAGE_SHARE = 0.1
OUTPUT_TOKENS = 8
REQUEST_S_MAX = 120.0
EVENT = b"data: "


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `picture` is the seed of its picture: the same one twice is the same picture."""

    tenant: str
    width_px: int
    picture: int
    question: str = "What is in the image?"
    is_batch: bool = False

    @property
    def is_page(self) -> bool:
        return self.width_px == PAGE_PX


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it. `ttft_s`: from when it was due to the first byte of the body."""

    ask: Ask
    status: int
    ttft_s: float
    retry_after: str | None = None


class Pictures:
    """Seeds that were never used before."""

    def __init__(self, seed: int) -> None:
        self._seeds = count(seed)
        self._random = random.Random(seed)

    def ask(self, tenant: str, width_px: int) -> Ask:
        return Ask(tenant, width_px, next(self._seeds))

    def mix(self, tenant: str, number: int) -> list[Ask]:
        """Nine thumbnails for each page, shuffled."""
        pages = round(number * PAGE_SHARE)
        sizes = [PAGE_PX] * pages + [THUMBNAIL_PX] * (number - pages)
        self._random.shuffle(sizes)
        return [self.ask(tenant, size) for size in sizes]


class Client:
    """Asks one gateway with the keys of its tenants."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self._url = f"{url}/v1/chat/completions"
        # How long the last loops took, from the first request to the last answer.
        self.closed_s = self.open_s = 0.0
        self._headers = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}

    async def closed(self, asks: list[Ask], clients: int, until: asyncio.Event | None = None) -> list[Told]:
        """Each client asks its next when it has its answer, `until` then; a refusal it accepts, and waits as it is told."""
        encoded = [body(ask) for ask in asks]  # not while the clock runs
        todo, told = zip(asks, encoded, strict=True), list[Told]()
        until = until or asyncio.Event()
        start_s = time.perf_counter()
        async with self._session() as session:
            await asyncio.gather(*(self._client(session, todo, told, until) for _ in range(clients)))
        self.closed_s = time.perf_counter() - start_s
        return told

    async def open(self, asks: list[Ask], rate_per_s: float, *, jitter: random.Random | None = None) -> list[Told]:
        """Each at its time, whatever became of the others; with `jitter` the gaps are those of a Poisson process."""
        due_s, dues = 0.0, []
        for _ in asks:
            due_s += jitter.expovariate(rate_per_s) if jitter else 1 / rate_per_s
            dues.append(due_s)
        encoded = [body(ask) for ask in asks]  # not while the clock runs
        start_s = time.perf_counter()
        async with self._session() as session:

            async def one(ask: Ask, data: bytes, due_s: float) -> Told:
                await asyncio.sleep(max(0.0, start_s + due_s - time.perf_counter()))
                return await self._told(session, ask, data, start_s + due_s)

            told = await asyncio.gather(*(one(*each) for each in zip(asks, encoded, dues, strict=True)))
            self.open_s = time.perf_counter() - start_s
            return told

    async def _client(
        self, session: aiohttp.ClientSession, todo: Iterator[tuple[Ask, bytes]], told: list[Told], until: asyncio.Event
    ) -> None:
        for ask, data in todo:
            if until.is_set():
                return
            told.append(await self._told(session, ask, data, time.perf_counter()))
            if told[-1].retry_after:
                await asyncio.sleep(int(told[-1].retry_after))

    async def _told(self, session: aiohttp.ClientSession, ask: Ask, data: bytes, due_s: float) -> Told:
        first_s = 0.0
        headers = self._headers[ask.tenant] | ({"x-tier": "batch"} if ask.is_batch else {})
        try:
            async with session.post(self._url, data=data, headers=headers) as response:
                async for _ in response.content.iter_any():
                    first_s = first_s or time.perf_counter() - due_s
                status, retry_after = response.status, response.headers.get("retry-after")
        except (aiohttp.ClientError, TimeoutError):
            status, retry_after = 0, None
        return Told(ask, status, first_s, retry_after)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX)
        )


def body(ask: Ask) -> bytes:
    """A chat completion of exactly `OUTPUT_TOKENS`. Chance is left in, so that nothing is shared."""
    blocks = np.random.default_rng(ask.picture).integers(0, 256, (BLOCKS, BLOCKS, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((ask.width_px, ask.width_px), Image.Resampling.NEAREST)
    content = [
        {"type": "image_url", "image_url": {"url": _data_url(picture)}},
        {"type": "text", "text": ask.question},
    ]
    return json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": OUTPUT_TOKENS,
            "ignore_eos": True,
            "stream": True,
        }
    ).encode()


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()


def percentile(values: Iterable[float], share: float) -> float:
    """Nearest rank; not a number of nothing. Pure."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
