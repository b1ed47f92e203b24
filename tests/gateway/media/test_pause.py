"""Nothing that a caller sends makes the event loop stand still."""

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

import pybase64
import pytest

from deployments.gateway.errors import BadRequest
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.media import Media
from deployments.gateway.request import ChatRequest
from tests.gateway.media.hostile import CARD, CORPUS, LIMITS, OWNER, Hostile, request
from tests.gateway.media.pause import pauses

PAUSE_MAX_S = 0.1
# As a request may have many of them.
IMAGES = 8


async def longest_pause_s(chat: ChatRequest) -> float:
    fetcher = Fetcher(FetchLimits(timeout_s=0))
    media = Media(fetcher, limits=LIMITS)
    async with pauses() as seen:
        with suppress(BadRequest):
            await media.load(chat, CARD, OWNER)
    media.close()
    await fetcher.close()
    return seen.longest_s


async def test_a_pause_is_seen():
    """Of the loop's own making, and of a thread that holds the interpreter's lock; not one that only waits."""

    def work() -> None:
        until_s = time.thread_time() + 0.2
        while time.thread_time() < until_s:
            sum(range(1_000_000))  # one step of the interpreter's, which it does not interrupt

    async with pauses() as seen:
        await asyncio.to_thread(time.sleep, 0.2)
    assert seen.longest_s < 0.05
    async with pauses() as seen:
        work()
    assert seen.longest_s > 0.15


@pytest.mark.parametrize("hostile", CORPUS.values(), ids=CORPUS)
async def test_no_hostile_file_stops_the_loop(hostile: Hostile):
    """However often a request shows it."""
    times = IMAGES if hostile.part == "image_url" else 1
    assert await longest_pause_s(request(hostile, times)) < PAUSE_MAX_S


BYTES = os.urandom(15 * 2**20)
BASE64 = pybase64.b64encode_as_string(BYTES)
URLS = {
    "20 MB": "data:image/png;base64," + BASE64,
    "20 MB, wrapped": "data:image/png;base64," + "\r\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
    "20 MB of blanks": "data:image/png;base64," + " " * (20 * 2**20),
    "a blank behind each letter": "data:image/png;base64," + "A " * (10 * 2**20),
    "20 MB, escaped": "data:image/png;base64," + "%2B" * (7 * 2**20),
    "20 MB of escapes that are none": "data:image/png;base64," + "%41" * (7 * 2**20),
    "20 MB that are no base64": "data:image/png;base64," + "!" * (20 * 2**20),
    "20 MB of parameters": "data:image/png" + ";a=b" * (5 * 2**20) + ";base64,AAAA",
    "20 MB of a path": "http://example.org/" + "é" * (10 * 2**20),
    "20 MB of a host": "http://" + "a." * (10 * 2**20),
    "20 MB of blanks around nothing": " " * (20 * 2**20),
}


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
async def test_no_long_url_stops_the_loop(url: str):
    """Whatever it is."""
    part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
    chat = ChatRequest(model="demo", messages=[{"role": "user", "content": [part]}])
    assert await longest_pause_s(chat) < PAUSE_MAX_S
