"""Asking a replica's engine server over HTTP, and reading what it answers. Images and tokens never cross Ray."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import orjson

from catalog.card import ModelCard
from deployments.gateway import trace
from deployments.gateway.chat_form import defaults, formed
from deployments.gateway.engine_refusal import refusal
from deployments.gateway.errors import EngineFailed, GatewayError, ModelWarming
from deployments.gateway.media.picture import Picture
from deployments.gateway.request import OWN_FIELDS, Chat
from deployments.gateway.slots import Replica
from deployments.gateway.words import as_words_deep
from deployments.log import logger_for

logger = logger_for(__name__)

CHAT_PATH = "/v1/chat/completions"
HEALTH_PATH = "/health"
# vLLM's. Our own servers have none: their code is ours, and sees at every stage that its caller has left.
ABORT_PATH = "/inference/v1/abort_requests"
CONNECT_TIMEOUT_S = 5.0
HEALTH_TIMEOUT_S = 2.0
ABORT_TIMEOUT_S = 5.0
KEEP_ALIVE_S = 3.0
EVENT_START = b"data: "
EVENT_END = b"\n\n"
ERROR_START = b'data: {"error"'
DONE_MARK = b"[DONE]"
# What vLLM says of a request that its core gave back before the first token.
STUMBLE_WORDS = "Internal server error"


class EngineBrokeOff(Exception):
    """The engine's answer ended before it was complete."""


def engine_request(chat: Chat, card: ModelCard, pictures: list[Picture], output_tokens_max: int) -> dict[str, Any]:
    """The request as the engine gets it, built anew: every image inline, in the form that the model was trained on, what
    people wrote without the model's markers, the output bounded, usage always asked for.

    Raises `BadRequest` for a chat that has no such form.
    """
    body = {name: value for name, value in chat.data.items() if name not in OWN_FIELDS}
    body["model"] = card.served_name
    body |= defaults(body, card.chat)
    messages = _with_pictures(chat.data["messages"], pictures, named=card.engine.name == "vllm")
    body["messages"] = formed(messages, card)
    body |= {name: as_words_deep(body[name], card.markers) for name in ("tools", "tool_choice") if name in body}
    if videos := [picture for picture in pictures if picture.kind == "video"]:
        body["media_io_kwargs"] = {"video": {"num_frames": videos[0].frames, "fps": videos[0].frames_per_s}}
    body["max_tokens"] = output_tokens_max
    if chat.request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return body


class EngineLost(Exception):
    """The engine died while it had the request. Nothing of its answer was told to anybody."""


class EngineStumbled(Exception):
    """The engine is well, and failed at a request before its first token. vLLM does that once with an image that somebody else
    left while it was prepared: its server believes that its core has it. The next who asks is answered.
    """


class EngineAnswer:
    """An engine's 200. Read it whole, or event by event. `again` has the same answered once more."""

    def __init__(self, response: aiohttp.ClientResponse, again: Callable[[], Awaitable["EngineAnswer"]]) -> None:
        self._response = response
        self._again = again
        self._first = b""

    async def begun(self) -> None:
        """Wait for the first bytes of a stream: its headers come before the engine does anything. Raises `EngineBrokeOff`."""
        if self._response.content_type != "text/event-stream":
            return
        try:
            self._first = await self._response.content.readany()
        except aiohttp.ClientError as error:
            raise EngineBrokeOff from error
        if not self._first or self._first.startswith(ERROR_START):
            raise EngineBrokeOff

    async def whole(self) -> dict[str, Any]:
        """The answer of a request without streaming. Raises `EngineBrokeOff`."""
        try:
            answer = orjson.loads(await self._response.read())
        except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
            raise EngineBrokeOff from error
        if not (_has_choices(answer) and answer["choices"] and answer.get("usage")):
            raise EngineBrokeOff
        return answer  # type: ignore[no-any-return]  # checked just above

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a stream, up to its `[DONE]`. Raises `EngineBrokeOff` if that never comes.

        A stream that fails when it has told no more than who speaks goes on with another.
        """
        has_spoken = is_told = False
        try:
            async for chunk in self.tried():
                has_spoken, is_told = has_spoken or not _says_who(chunk), True
                yield chunk
        except EngineStumbled as error:
            if has_spoken:
                raise EngineBrokeOff from error
        else:
            return
        try:
            async for chunk in (await self._again()).tried():
                if not (is_told and _says_who(chunk)):
                    yield chunk
        except (EngineStumbled, EngineLost, GatewayError) as error:
            raise EngineBrokeOff from error

    async def tried(self) -> AsyncIterator[dict[str, Any]]:
        """The chunks of this very stream. Raises `EngineBrokeOff` or `EngineStumbled`."""
        buffer = b""
        try:
            async for data in self._data():
                *events, buffer = (buffer + data).split(EVENT_END)
                for event in events:
                    payload = event.removeprefix(EVENT_START)
                    if payload == DONE_MARK:
                        return
                    chunk = orjson.loads(payload)
                    if not _has_choices(chunk):  # an error event, or nonsense
                        raise EngineStumbled if _is_stumble(payload) else EngineBrokeOff
                    yield chunk
        except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
            raise EngineBrokeOff from error
        raise EngineBrokeOff

    async def _data(self) -> AsyncIterator[bytes]:
        yield self._first
        async for data in self._response.content.iter_any():
            yield data


class Engines:
    """The gateway's connections to engine servers, kept alive."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._aborting: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def ask(
        self, replica: Replica, request_id: str, body: bytes, context_tokens: int
    ) -> AsyncIterator[EngineAnswer]:
        """Send a request, once more if the engine stumbles; leaving the context early stops the engine's work.

        Raises `ModelWarming` (the engine is restarting, and did nothing), `EngineLost` (it died meanwhile), `BadRequest`
        (it refused the request) or `EngineFailed`.
        """
        async with AsyncExitStack() as stack:

            async def once() -> EngineAnswer:
                asking = self._ask_once(replica, request_id, body, context_tokens, again)
                return await stack.enter_async_context(asking)

            async def again() -> EngineAnswer:
                logger.warning("replica %s stumbled at request %s: it is asked again", replica.id, request_id)
                try:
                    return await once()
                except EngineStumbled as error:
                    raise EngineFailed from error

            try:
                answer = await once()
            except EngineStumbled:
                answer = await again()
            yield answer

    @asynccontextmanager
    async def _ask_once(
        self,
        replica: Replica,
        request_id: str,
        body: bytes,
        context_tokens: int,
        again: Callable[[], Awaitable[EngineAnswer]],
    ) -> AsyncIterator[EngineAnswer]:
        """See `ask`. Raises `EngineStumbled` as well."""
        # Of this execution alone: a retry may have the same request answered beside it.
        call_id = f"{request_id}-{secrets.token_hex(4)}"
        headers = _headers(replica) | {"x-request-id": call_id, **trace.outgoing()}
        try:
            response = await self._open().post(replica.url + CHAT_PATH, data=body, headers=headers)
        except asyncio.CancelledError:
            self._abort_soon(replica, call_id)
            raise
        except aiohttp.ClientConnectorError as error:
            raise ModelWarming from error
        except aiohttp.ClientError as error:
            raise await self._failure(replica) from error
        complete = False
        try:
            answer = EngineAnswer(response, again)
            await self._check(answer, response, replica, body, context_tokens)
            yield answer
            complete = True
        finally:
            # Back to the pool if it was read to its end; else closed, which is what tells the engine to stop.
            if complete:
                response.release()
            else:
                response.close()
                if response.status == 200:
                    self._abort_soon(replica, call_id)

    async def close(self) -> None:
        for task in self._aborting:
            task.cancel()
        if self._session:
            await self._session.close()

    def _abort_soon(self, replica: Replica, call_id: str) -> None:
        """Say by name, too, that nobody waits any more: what an engine did not see of the connection is paid by nobody."""
        task = asyncio.create_task(self._abort(replica, call_id))
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)

    async def _abort(self, replica: Replica, call_id: str) -> None:
        """What has ended already is none of the engine's any more; an engine that is gone has nothing to end."""
        asked, timeout = {"request_ids": [f"chatcmpl-{call_id}"]}, aiohttp.ClientTimeout(total=ABORT_TIMEOUT_S)
        with suppress(aiohttp.ClientError, TimeoutError):
            url = replica.url + ABORT_PATH
            async with self._open().post(url, json=asked, headers=_headers(replica), timeout=timeout) as response:
                await response.read()

    async def _check(
        self,
        answer: EngineAnswer,
        response: aiohttp.ClientResponse,
        replica: Replica,
        body: bytes,
        context_tokens: int,
    ) -> None:
        """Whether a response is an answer. Raises what `_ask_once` does."""
        try:
            if response.status == 503:
                raise ModelWarming
            if response.status != 200:
                said = await response.read()
                if _is_stumble(said):
                    raise EngineStumbled
                raise refusal(response.status, said, body, context_tokens) or await self._failure(replica)
            await answer.begun()
        except (aiohttp.ClientError, EngineBrokeOff) as error:
            raise await self._failure(replica) from error

    async def _failure(self, replica: Replica) -> Exception:
        """Why there is no answer: an engine that does not say that it is well has died, and all that it had with it."""
        timeout = aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_S)
        try:
            async with self._open().get(replica.url + HEALTH_PATH, timeout=timeout) as response:
                is_well = response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            is_well = False
        return EngineFailed() if is_well else EngineLost()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # vLLM closes a connection that was idle for 5 s: leave it before, or a request meets the closing.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                read_bufsize=2**18,
            )
        return self._session


def _headers(replica: Replica) -> dict[str, str]:
    return {"authorization": f"Bearer {replica.token}", "content-type": "application/json"}


def _is_stumble(said: bytes) -> bool:
    try:
        return bool(orjson.loads(said)["error"]["message"] == STUMBLE_WORDS)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False


def _says_who(chunk: dict[str, Any]) -> bool:
    """It says who speaks, and nothing else."""
    deltas = [choice["delta"] for choice in chunk["choices"] if choice.get("delta")]
    return any(delta.get("role") and not delta.get("content") for delta in deltas)


def _has_choices(answer: object) -> bool:
    return (
        isinstance(answer, dict)
        and isinstance(choices := answer.get("choices"), list)
        and all(isinstance(choice, dict) and _has_parts(choice) for choice in choices)
    )


def _has_parts(choice: dict[str, Any]) -> bool:
    return all(isinstance(choice.get(part) or {}, dict) for part in ("message", "delta"))


def _with_pictures(messages: list[dict[str, Any]], pictures: list[Picture], *, named: bool) -> list[dict[str, Any]]:
    """The messages with each part that shows something replaced by its pictures. `named`: each with its identity."""
    shown: defaultdict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for picture in pictures:
        shown[picture.place.message, picture.place.part].append(_part(picture, named=named))

    def replaced(i: int, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [part for j, sent in enumerate(content) for part in shown.get((i, j), [sent])]

    return [
        message | {"content": replaced(i, message["content"])} if isinstance(message.get("content"), list) else message
        for i, message in enumerate(messages)
    ]


def _part(picture: Picture, *, named: bool) -> dict[str, Any]:
    kind = "video_url" if picture.kind == "video" else "image_url"
    part: dict[str, Any] = {"type": kind, kind: {"url": picture.data_url}}
    if named:
        # vLLM's caches go by it, instead of hashing the pixels again.
        part["uuid"] = picture.sha256
    return part
