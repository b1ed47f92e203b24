"""Bounds in front of vLLM's chat endpoint: an ASGI layer that it loads by `--middleware`.

vLLM checks every field of a request but the schemas in it. It turns them into grammars on its event loop, where a hostile one
stands still for seconds, and tells one that it cannot compile, or that allows no token, as a fault of its own.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from openai_chat import schema, trial
from openai_chat.answered import failure
from openai_chat.refusal import FieldRefused, refusal
from pydantic_core import from_json

PATH = "/v1/chat/completions"
# Only a body with one of them is read here; a gateway writes names without escapes.
FIELDS = (b'"response_format"', b'"tools"')

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Bounds:
    """Refuses what `app` should not see; all else it gets unchanged."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        received = await _body(receive)
        body = b"".join(message.get("body", b"") for message in received)
        try:
            if any(field in body for field in FIELDS):
                await asyncio.to_thread(check, body)
        except FieldRefused as error:
            await _refuse(send, *refusal(error))
            return
        await self._app(scope, _again(received, receive), send)


def check(body: bytes) -> None:
    """Raises `FieldRefused`. What is wrong in other ways vLLM says itself."""
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError:
        return
    if not isinstance(data, dict):
        return
    if isinstance(data.get("response_format"), dict):
        _check("response_format", data["response_format"])
    for tool in data["tools"] if isinstance(data.get("tools"), list) else ():
        match tool:
            case {"function": {"parameters": dict(parameters)}}:
                _check("tools", {"type": "json_schema", "json_schema": {"schema": parameters}})


def _check(field: str, response_format: dict[str, Any]) -> None:
    try:
        schema.check(schema.asked_of(response_format))
        trial.check(response_format)
    except FieldRefused as error:
        raise FieldRefused(field, error.words) from error
    except ValueError as error:
        raise FieldRefused(field, str(error)) from error


async def _body(receive: Receive) -> list[Message]:
    """Up to its end, or until its caller left."""
    received = [await receive()]
    while received[-1]["type"] == "http.request" and received[-1].get("more_body"):
        received.append(await receive())
    return received


def _again(received: list[Message], receive: Receive) -> Receive:
    """What was received, then what comes."""
    waiting = iter(received)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    return again


async def _refuse(send: Send, message: str, param: str | None) -> None:
    await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(failure(400, message, param)).encode()})
