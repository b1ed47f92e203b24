"""Offers load in an open loop: each request leaves when it is due, however slow the server is, and its times count from then."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import aiohttp

from loadtests.record import Record
from loadtests.slo import Slo
from loadtests.stream import BadAnswer, Measured, measure

CHAT_PATH = "/v1/chat/completions"
LEAD_S = 0.5  # before the first request, while the tasks of all of them begin
WARM_UP_S_MAX = 600.0
ERROR_CHARACTERS = 300
TOO_SLOW = "too slow"  # the failure of a request that was left


class Unanswered(Exception):
    """The server answers nothing right. The message says what it says instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """An OpenAI-compatible server, and the key that opens it."""

    url: str
    key: str


class Load:
    """Sends requests to one target. A context manager: it holds the connections."""

    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._target.key}"}
        self._session = aiohttp.ClientSession(
            self._target.url,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=headers,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def warm_up(self, bodies: Sequence[bytes], output_tokens: int) -> None:
        """One, then all at once: an engine compiles for what it has not seen. Raises `Unanswered`."""
        for batch in (bodies[:1], bodies[1:]):
            records = await self.offer(batch, [0.0] * len(batch), output_tokens, WARM_UP_S_MAX)
            if failure := next((record.failure for record in records if record.failure), None):
                raise Unanswered(f"{self._target.url} does not answer the standard request: {failure}")

    async def offer(
        self, bodies: Sequence[bytes], dues_s: Sequence[float], output_tokens: int, patience_s: float
    ) -> list[Record]:
        """Send every body when it is due. An answer that takes longer than `patience_s` is left."""
        begin_s = time.perf_counter() + LEAD_S
        sent = (
            self._send(body, due_s, begin_s, output_tokens, patience_s)
            for body, due_s in zip(bodies, dues_s, strict=True)
        )
        return list(await asyncio.gather(*sent))

    async def _send(self, body: bytes, due_s: float, begin_s: float, output_tokens: int, patience_s: float) -> Record:
        await asyncio.sleep(begin_s + due_s - time.perf_counter())
        lag_ms = 1000 * (time.perf_counter() - begin_s - due_s)
        try:
            async with asyncio.timeout(patience_s):
                answer = await self.ask(body, begin_s + due_s, output_tokens)
        except TimeoutError:
            return Record(due_s, lag_ms, 0, failure=TOO_SLOW)
        except (BadAnswer, aiohttp.ClientError, ValueError, LookupError) as error:
            failure = str(error) if isinstance(error, BadAnswer) else type(error).__name__
            return Record(due_s, lag_ms, 0, failure=failure)
        return Record(due_s, lag_ms, 0, answer)

    async def ask(self, body: bytes, due_s: float, output_tokens: int) -> Measured:
        """One request; `due_s` is of `time.perf_counter`. Raises `BadAnswer` and `aiohttp.ClientError`."""
        async with self._session.post(CHAT_PATH, data=body) as response:
            if response.status != 200:
                raise BadAnswer(f"status {response.status} {_message(await response.read())}")
            # Only stamped as they come; read when the answer has ended.
            told = [(line, 1000 * (time.perf_counter() - due_s)) async for line in response.content]
        answer = replayed(told)
        if answer.output_tokens != output_tokens:
            raise BadAnswer(f"{answer.output_tokens} output tokens instead of {output_tokens}")
        return answer


def patience_s(slo: Slo, output_tokens: int) -> float:
    """After which an answer has missed the SLO for certain, and once more. Pure."""
    return 2 * (slo.ttft_ms + slo.tpot_ms * max(0, output_tokens - 1)) / 1000


def replayed(told: Sequence[tuple[bytes, float]]) -> Measured:
    """What a stream tells whose lines came at these milliseconds. Pure. Raises `BadAnswer`."""
    at_ms = 0.0

    def lines() -> Iterator[bytes]:
        nonlocal at_ms
        for line, came_ms in told:
            at_ms = came_ms
            yield line

    return measure(lines(), lambda: at_ms)


def _message(answer: bytes) -> str:
    """What an error says of itself."""
    try:
        return str(json.loads(answer)["error"]["message"])[:ERROR_CHARACTERS]
    except (ValueError, LookupError, TypeError):
        return ""
