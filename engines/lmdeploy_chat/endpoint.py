"""The endpoint over HTTP: whole answers and streams, both of which end when their caller leaves."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from lmdeploy.serve.core.exceptions import RequestError
from lmdeploy.serve.utils.streaming_response import ManagedStreamingResponse
from openai_chat import trial
from openai_chat.answered import DONE, Answer, Piece, event, failure
from openai_chat.asked import Asked, StreamOptions, read
from openai_chat.caller import CallerLeft, while_there
from openai_chat.refusal import refusal
from starlette.requests import ClientDisconnect

from lmdeploy_chat.answered import message_of, param_of
from lmdeploy_chat.asked import vocabulary
from lmdeploy_chat.run import Run, start

# For nobody: the caller has left.
NO_ANSWER = Response(status_code=499)


def register(router: APIRouter, server: Any) -> None:
    """Called by LMDeploy with its router and its `ServerContext`."""
    tokens = cache(lambda: vocabulary(server.async_engine.hf_cfg))

    @router.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        try:
            asked = read(await request.body(), Asked, tokens())
            await while_there(request, asyncio.to_thread(trial.check, asked.response_format))
            run = await while_there(request, start(server, asked))  # reading images takes its time
        except (ValueError, RequestError) as error:
            return _refusal(error, server)
        except (ClientDisconnect, CallerLeft):
            return NO_ANSWER
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        answer = Answer(f"chatcmpl-{request_id}", asked.model, run.prompt_tokens, {"image": run.image_tokens})
        return _stream(run, answer, asked, server) if asked.stream else await _whole(run, answer, request, server)


async def _whole(run: Run, answer: Answer, request: Request, server: Any) -> Response:
    try:
        text, last = await while_there(request, _collected(run))
        return JSONResponse(answer.whole(text, last))
    except CallerLeft:
        return NO_ANSWER
    except RequestError as error:
        return _refusal(error, server)
    finally:
        await run.close()


async def _collected(run: Run) -> tuple[str, Piece]:
    """All of the text, and the last piece."""
    texts = []
    async for piece in run.pieces():
        texts.append(piece.text)
    return "".join(texts), piece


def _stream(run: Run, answer: Answer, asked: Asked, server: Any) -> Response:
    events = _events(run, answer, asked.stream_options, server)
    return ManagedStreamingResponse(events, cleanup_callbacks=[run.close], media_type="text/event-stream")


async def _events(run: Run, answer: Answer, options: StreamOptions, server: Any) -> AsyncIterator[str]:
    def told(chunk: dict[str, Any], piece: Piece) -> str:
        return event(chunk | {"usage": answer.usage(piece)} if options.continuous_usage_stats else chunk)

    try:
        yield told(answer.first_chunk(), Piece(""))
        async for piece in run.pieces():
            yield told(answer.chunk(piece), piece)
        if options.include_usage:
            yield event(answer.usage_chunk(piece))
    except RequestError as error:
        yield event(failure(error.status_code, message_of(error, server.async_engine.session_len)))
    yield DONE


def _refusal(error: ValueError | RequestError, server: Any) -> Response:
    """The error's own words name the field at fault; a gateway keeps them to itself."""
    if isinstance(error, RequestError):
        message = message_of(error, server.async_engine.session_len)
        status, param = int(error.status_code), param_of(error)
    else:
        status, (message, param) = 400, refusal(error)
    return JSONResponse(failure(status, message, param), status_code=status)
