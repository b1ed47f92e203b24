"""An engine's server as a gateway sees it: real HTTP on loopback, with scripted behaviour instead of a model."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

WORDS = ("A ", "red ", "circle.")
VISION_TOKENS, TEXT_TOKENS = 16, 30
# The first chunk of a stream has the role and no text; the last of these has the finish reason.
CONTENT_CHUNKS = 1 + len(WORDS)

Behaviour = Callable[["Engine", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Engine:
    """What it was asked, and how it behaves. `well`: as its `/health` says. `parked`: it waits, for ever; `hung_up`: its
    caller left it so. `aborted`: what it was told to end, by name.
    """

    behaves: Behaviour
    well: bool = True
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    parked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _pauses: dict[int, asyncio.Semaphore] = field(default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(0)))
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, request: web.Request, asked: dict[str, Any]) -> None:
        self.asked.append(asked)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        async with self._news:
            self._news.notify_all()

    async def was_asked(self, times: int) -> None:
        """Wait until so many requests have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= times)

    def resume(self, number: int) -> None:
        """End a pause of a request; they are numbered from 0."""
        self._pauses[number].release()

    async def pause(self, number: int) -> None:
        await self._pauses[number].acquire()

    async def park(self) -> None:
        self.parked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.hung_up.set()
            raise


def usage(output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": VISION_TOKENS + TEXT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": VISION_TOKENS + TEXT_TOKENS + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 4, "multimodal_tokens": {"image": VISION_TOKENS}},
    }


def whole(words: Sequence[str] = WORDS) -> dict[str, Any]:
    """A complete answer of one token a word, with fields of the engine's own."""
    message = {"role": "assistant", "content": "".join(words), "reasoning": None, "annotations": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "token_ids": None}
    return _envelope("chat.completion", [choice], usage(len(words)))


def chunks(words: Sequence[str] = WORDS) -> list[dict[str, Any]]:
    """The same as a stream: one chunk with the role, one a word, one with the usage."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None, "token_ids": None} for delta in deltas]
    choices[-1] |= {"finish_reason": "stop"}
    content = [_envelope("chat.completion.chunk", [choice], usage(i)) for i, choice in enumerate(choices)]
    return [*content, _envelope("chat.completion.chunk", [], usage(len(words)))]


def _envelope(kind: str, choices: list[Any], counted: dict[str, Any]) -> dict[str, Any]:
    own = {"prompt_logprobs": None, "kv_transfer_params": {"block": 7}}
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "m", "choices": choices, "usage": counted, **own}


def says(answer: dict[str, Any], parts: list[dict[str, Any]]) -> Behaviour:
    """Gives this answer, or these chunks of it."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if not asked.get("stream"):
            return web.json_response(answer)
        return await _end(await _stream(request, parts))

    return behave


answers = says(whole(), chunks())


def pauses_after(*counts: int) -> Behaviour:
    """Pauses when so many chunks are sent, or before a whole answer."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        number = len(engine.asked) - 1
        if not asked.get("stream"):
            await engine.pause(number)
            return web.json_response(whole())
        response = await _stream(request, [])
        for begin, end in itertools.pairwise([0, *counts]):
            await _send(response, chunks()[begin:end])
            await engine.pause(number)
        await _send(response, chunks()[counts[-1] :])
        return await _end(response)

    return behave


def parks_after(sent: int) -> Behaviour:
    """Sends so many chunks, then works on for ever."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = await _stream(request, chunks()[:sent]) if sent else web.StreamResponse()
        await engine.park()
        return response

    return behave


def dies_after(sent: int) -> Behaviour:
    """Sends so many chunks, then its process is gone."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        response = await _stream(request, chunks()[:sent]) if sent else web.StreamResponse()
        assert request.transport
        request.transport.close()
        return response

    return behave


def dies() -> Behaviour:
    """Its process is gone before it answers, and so is its health."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        engine.well = False
        return await dies_after(0)(engine, request, asked)

    return behave


def dies_with(status: int, message: str = "EngineCore encountered an issue") -> Behaviour:
    """Answers with an error, and is not well any more."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        engine.well = False
        return await refuses(status, message)(engine, request, asked)

    return behave


def dies_in_the_first_event() -> Behaviour:
    """A stream is begun before the engine does anything."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        engine.well = False
        response = await _stream(request, [])
        await response.write(b'data: {"error": {"message": "EngineCore encountered an issue"}}\n\n')
        return await _end(response)

    return behave


def sends(body: bytes) -> Behaviour:
    """Sends a 200 with just these bytes."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=body)

    return behave


def refuses(status: int, message: str, param: str | None = None) -> Behaviour:
    """Answers with an error in vLLM's shape."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        error = {"message": message, "type": "BadRequestError", "param": param}
        return web.json_response({"error": error}, status=status)

    return behave


def stumbles(times: int) -> Behaviour:
    """Fails at the first requests as vLLM does: whole by its status, a stream when it has said who speaks."""

    async def behave(engine: Engine, request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        if len(engine.asked) > times:
            return await answers(engine, request, asked)
        error = {"error": {"message": "Internal server error", "type": "InternalServerError", "code": 500}}
        if not asked.get("stream"):
            return web.json_response(error, status=500)
        return await _end(await _stream(request, [chunks()[0], error]))

    return behave


async def _stream(request: web.Request, parts: list[dict[str, Any]]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Engine": "secret"})
    await response.prepare(request)
    await _send(response, parts)
    return response


async def _send(response: web.StreamResponse, parts: list[dict[str, Any]]) -> None:
    for chunk in parts:
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")


async def _end(response: web.StreamResponse) -> web.StreamResponse:
    await response.write(b"data: [DONE]\n\n")
    return response


@asynccontextmanager
async def running_engine() -> AsyncIterator[Engine]:
    """An engine that answers, until a test gives it another behaviour."""
    engine = Engine(answers)

    async def chat(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        await engine.note(request, asked)
        return await engine.behaves(engine, request, asked)

    async def health(request: web.Request) -> web.Response:
        return web.Response(status=200 if engine.well else 503)

    async def abort(request: web.Request) -> web.Response:
        for name in (await request.json())["request_ids"]:
            engine.aborted.put_nowait(name)
        return web.Response()

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/inference/v1/abort_requests", abort)
    app.router.add_get("/health", health)
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield engine
    finally:
        await runner.cleanup()
