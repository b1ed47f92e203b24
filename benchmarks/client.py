"""Closed-loop load, in a process of its own so that its CPU time is nobody else's: `python -m benchmarks.client`.

Reads one line of JSON, an `Order`; prints `ready` when all bodies are built and the warm-up is done; reads the line
`go`; prints one line of JSON, a `Load`.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import aiohttp

from benchmarks.workload import OUTPUT_TOKENS, Case, bodies

READY = "ready"
GO = "go"
READY_WAIT_S = 300.0
REQUEST_S_MAX = 300.0
RETRY_S = 0.5
EVENT = b"data: "
DONE = b"data: [DONE]"


class NotReady(Exception):
    """The stack gave no answer in time. The message holds its last one."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which case to run, and where. `key` may be empty."""

    url: str
    key: str
    model: str
    case: Case


@dataclass(slots=True)
class Load:
    """What came back. Times are the client's own, in milliseconds, one a right answer, in order of their ends.

    TTFT runs until the first byte of the answer's body. `events` are those of all streams, usage and end excluded.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    ttfts_ms: list[float] = field(default_factory=list)
    events: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    latency_s: float
    ttft_s: float


def fault(answer: Answer, *, stream: bool) -> str:
    """Why an answer does not count, or nothing: it must hold exactly the tokens asked for. Pure."""
    if answer.status != 200:
        return f"status {answer.status}"
    try:
        usage = _last_event(answer.body)["usage"] if stream else json.loads(answer.body)["usage"]
        tokens = usage["completion_tokens"]
    except (ValueError, KeyError, IndexError, TypeError):
        return "unreadable"
    return "" if tokens == OUTPUT_TOKENS else f"{tokens} tokens"


def events(answer: Answer) -> int:
    """Events that carry content: all but usage and the end. Pure."""
    return answer.body.count(EVENT) - 2


async def ask(session: aiohttp.ClientSession, url: str, body: bytes) -> Answer:
    """One request. Raises `aiohttp.ClientError` and `TimeoutError`."""
    start, first, parts = time.perf_counter(), 0.0, []
    async with session.post(url, data=body) as response:
        async for part in response.content.iter_any():
            first = first or time.perf_counter() - start
            parts.append(part)
    return Answer(response.status, b"".join(parts), time.perf_counter() - start, first)


async def drive(session: aiohttp.ClientSession, order: Order, load: list[bytes]) -> Load:
    """Send every body. Answers are checked when the clock has stopped."""
    url = f"{order.url}/v1/chat/completions"
    todo, answers, broken = iter(load), list[Answer](), Counter[str]()
    start = time.perf_counter()
    await asyncio.gather(*(_client(session, url, todo, answers, broken) for _ in range(order.case.clients)))
    seconds = time.perf_counter() - start
    result = Load(seconds, errors=broken)
    for answer in answers:
        if why := fault(answer, stream=order.case.stream):
            broken[why] += 1
            continue
        result.latencies_ms.append(round(1000 * answer.latency_s, 2))
        result.ttfts_ms.append(round(1000 * answer.ttft_s, 2))
        result.events += events(answer) if order.case.stream else 0
    return result


async def _client(
    session: aiohttp.ClientSession, url: str, todo: Iterator[bytes], answers: list[Answer], broken: Counter[str]
) -> None:
    for body in todo:
        try:
            answers.append(await ask(session, url, body))
        except (aiohttp.ClientError, TimeoutError) as error:
            broken[type(error).__name__] += 1


async def wait_until_ready(session: aiohttp.ClientSession, order: Order, body: bytes) -> None:
    """Ask until an answer is right. Raises `NotReady`."""
    deadline, last = time.monotonic() + READY_WAIT_S, ""
    while time.monotonic() < deadline:
        try:
            answer = await ask(session, f"{order.url}/v1/chat/completions", body)
        except (aiohttp.ClientError, TimeoutError) as error:
            last = repr(error)
        else:
            last = fault(answer, stream=order.case.stream)
            if not last:
                return
            last += f": {answer.body[:500].decode(errors='replace')}"
        await asyncio.sleep(RETRY_S)
    raise NotReady(f"{order.url} gave no right answer within {READY_WAIT_S:.0f} s; the last one: {last}")


def session_for(order: Order) -> aiohttp.ClientSession:
    """One kept-alive connection a client."""
    headers = {"Content-Type": "application/json"}
    if order.key:
        headers["Authorization"] = f"Bearer {order.key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX),
        headers=headers,
    )


async def main() -> int:
    data = json.loads(sys.stdin.readline())
    order = Order(**{**data, "case": Case(**data["case"])})
    load, warm_up = bodies(order.case, order.model), bodies(order.case.warm_up, order.model)
    async with session_for(order) as session:
        await wait_until_ready(session, order, warm_up.pop())
        await drive(session, order, warm_up)
        print(READY, flush=True)
        if sys.stdin.readline().strip() != GO:
            return 1
        print(json.dumps(asdict(await drive(session, order, load))), flush=True)
    return 0


def _last_event(body: bytes) -> dict[str, dict[str, int]]:
    """The event before the end: the one with the usage."""
    lines = [line for line in body.splitlines() if line.startswith(EVENT) and line != DONE]
    event: dict[str, dict[str, int]] = json.loads(lines[-1].removeprefix(EVENT))
    return event


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
