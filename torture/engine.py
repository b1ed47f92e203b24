"""A replica's engine, played: vLLM's chat API with usage in every chunk, and exactly as many tokens as it is asked for."""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from accounting.failpoint import failpoint

PREFILL_S = 0.02
DECODE_S = 0.003
PROMPT_TOKENS, VISION_TOKENS = 40, 16
WORD = "red "
EVENT = b"data: "
DONE = EVENT + b"[DONE]\n\n"


async def serve(host: str, port: int) -> None:
    """Answer until killed."""
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_get("/health", _healthy)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, reuse_address=True).start()
    await asyncio.Event().wait()


async def _healthy(request: web.Request) -> web.Response:
    return web.Response()


async def _chat(request: web.Request) -> web.StreamResponse:
    asked = orjson.loads(await request.read())
    tokens = asked["max_tokens"]
    failpoint("replica.prefill")
    await asyncio.sleep(PREFILL_S)
    return await (_stream(request, tokens) if asked.get("stream") else _whole(tokens))


async def _whole(tokens: int) -> web.Response:
    for _ in range(tokens):
        await _decode()
    message = {"role": "assistant", "content": WORD * tokens}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    return web.json_response(_envelope("chat.completion", [choice], tokens))


async def _stream(request: web.Request, tokens: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(_chunk({"role": "assistant", "content": ""}, None, 0))
    for token in range(1, tokens + 1):
        await _decode()
        await response.write(_chunk({"content": WORD}, "length" if token == tokens else None, token))
    await response.write(_event(_envelope("chat.completion.chunk", [], tokens)) + DONE)
    return response


async def _decode() -> None:
    await asyncio.sleep(DECODE_S)
    failpoint("replica.decode")


def _chunk(delta: dict[str, str], finish: str | None, tokens: int) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _event(_envelope("chat.completion.chunk", [choice], tokens))


def _event(data: dict[str, Any]) -> bytes:
    return EVENT + orjson.dumps(data) + b"\n\n"


def _envelope(kind: str, choices: list[Any], tokens: int) -> dict[str, Any]:
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "multimodal_tokens": {"image": VISION_TOKENS}},
    }
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "m", "choices": choices, "usage": usage}
