"""HTTP: whole answers and streams, both of which end when their caller leaves."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

from openai_chat.answered import DONE, Answer, Piece, event, failure
from openai_chat.asked import StreamOptions, read
from openai_chat.caller import CallerLeft, while_there
from openai_chat.refusal import FieldRefused, refusal
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from transformers_chat.asked import VideoAsked
from transformers_chat.batches import Batcher
from transformers_chat.messages import Message, messages, parts
from transformers_chat.model import Served
from transformers_chat.sequence import AnswerFailed, Sequence

# For nobody: the caller has left.
NO_ANSWER = Response(status_code=499)
FAILED = failure(500, "The model could not compute this answer.")


class Server:
    """The endpoints of one model. `media_max` is by modality, and of one request."""

    def __init__(
        self, model: Served, batcher: Batcher, name: str, context_tokens: int, media_max: dict[str, int]
    ) -> None:
        self._model = model
        self._batcher = batcher
        self._name = name
        self._context_tokens = context_tokens
        self._media_max = media_max

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
            ]
        )

    async def _health(self, request: Request) -> Response:
        return Response()

    async def _metrics(self, request: Request) -> Response:
        counters = self._batcher.counters
        counts = {
            "prompt_tokens_total": ("counter", counters.prompt_tokens),
            "generation_tokens_total": ("counter", counters.output_tokens),
            "batches_total": ("counter", counters.batches),
            "num_requests_running": ("gauge", self._batcher.running),
            "num_requests_waiting": ("gauge", self._batcher.waiting),
        }
        lines = [f"# TYPE transformers:{name} {kind}\ntransformers:{name} {n}\n" for name, (kind, n) in counts.items()]
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")

    async def _chat(self, request: Request) -> Response:
        try:
            asked = read(await request.body(), VideoAsked, self._model.vocabulary)
            # Reading images takes its time.
            preparing = asyncio.to_thread(self._prepared, asked, asyncio.get_running_loop())
            sequence = await while_there(request, preparing)
        except ValueError as error:
            return _refused(400, *refusal(error))
        except (ClientDisconnect, CallerLeft):
            return NO_ANSWER
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        prompt = sequence.prompt
        answer = Answer(f"chatcmpl-{request_id}", asked.model, prompt.tokens, prompt.vision_tokens)
        if asked.stream:
            events = self._events(sequence, answer, asked.stream_options)
            return StreamingResponse(events, media_type="text/event-stream")
        return await self._whole(sequence, answer, request)

    async def _whole(self, sequence: Sequence, answer: Answer, request: Request) -> Response:
        self._batcher.submit(sequence)
        try:
            text, last = await while_there(request, _collected(sequence))
            return JSONResponse(answer.whole(text, last))
        except CallerLeft:
            return NO_ANSWER
        except AnswerFailed:
            return JSONResponse(FAILED, status_code=500)
        finally:
            sequence.leave()

    async def _events(self, sequence: Sequence, answer: Answer, options: StreamOptions) -> AsyncIterator[str]:
        """Submits only when it is read: nobody reads it, so nobody ends it, if the caller has left by then."""

        def told(chunk: dict[str, Any], piece: Piece) -> str:
            return event(chunk | {"usage": answer.usage(piece)} if options.continuous_usage_stats else chunk)

        self._batcher.submit(sequence)
        try:
            yield told(answer.first_chunk(), Piece(""))
            async for piece in sequence.pieces():
                yield told(answer.chunk(piece), piece)
            if options.include_usage:
                yield event(answer.usage_chunk(piece))
        except AnswerFailed:
            yield event(FAILED)
        finally:
            sequence.leave()
        yield DONE

    def _prepared(self, asked: VideoAsked, loop: asyncio.AbstractEventLoop) -> Sequence:
        """On a thread: templates, images and grammars take their time. Raises ValueError in words for the caller."""
        if asked.model != self._name:
            raise FieldRefused("model", f"`{self._name}` is the only one here.")
        conversation = messages(asked.messages)
        self._check(conversation)
        prompt = self._model.reader.read(conversation, asked.frames_per_s)
        if prompt.tokens + asked.max_tokens > self._context_tokens:
            raise FieldRefused(
                "messages",
                f"The model's maximum context length is {self._context_tokens} tokens: prompt and answer exceed it.",
            )
        return self._model.sequence(prompt, asked, loop)

    def _check(self, conversation: list[Message]) -> None:
        kinds = [part.type for part in parts(conversation)]
        for modality, most in self._media_max.items():
            if kinds.count(f"{modality}_url") > most:
                raise FieldRefused("messages", f"At most {most} {modality}(s) may be provided in one prompt.")


async def _collected(sequence: Sequence) -> tuple[str, Piece]:
    """All of the text, and the last piece."""
    texts = []
    async for piece in sequence.pieces():
        texts.append(piece.text)
    return "".join(texts), piece


def _refused(status: int, message: str, param: str | None = None) -> Response:
    return JSONResponse(failure(status, message, param), status_code=status)
