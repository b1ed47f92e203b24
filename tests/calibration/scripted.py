"""An OpenAI-compatible server on loopback that answers by a script: real HTTP, no model."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from aiohttp import web

from deployments.port import free_port

HOST = "127.0.0.1"


def right(tokens: int) -> bytes:
    """A whole stream."""
    chunks = [{"choices": [{"delta": {"content": "word"}}]}, {"choices": [], "usage": _usage(tokens)}]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 40, "completion_tokens": tokens}


@contextmanager
def serving(answers: Callable[[int], tuple[int, bytes] | None]) -> Iterator[str]:
    """Its URL. `answers` gives status and body of the n-th request; None: it never comes."""
    numbers, port = count(), free_port(HOST)
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def chat(request: web.Request) -> web.Response:
        answer = answers(next(numbers))
        await request.read()
        if answer is None:
            await asyncio.Event().wait()
        status, body = answer
        return web.Response(status=status, body=body)

    async def live() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    stopped = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    assert ready.wait(30)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(30)
        loop.close()
