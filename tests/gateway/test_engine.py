import asyncio
from contextlib import nullcontext
from typing import Any

import orjson
import pytest

from deployments.gateway.engine import EngineAnswer, EngineBrokeOff, Engines, engine_request
from deployments.gateway.errors import BadRequest, EngineFailed
from deployments.gateway.media.picture import Picture
from deployments.gateway.request import Place, parse
from deployments.gateway.slots import Replica
from tests.gateway.engine_server import chunks, parks_after, refuses, running_engine, sends, stumbles, whole
from tests.gateway.house import CARD

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
TEXT = {"type": "text", "text": "What is this?"}
DATA = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


def sent(**fields: Any) -> dict[str, Any]:
    return engine_request(parse(orjson.dumps(DATA | fields)), CARD, [], 64)


def shown(base64: str, name: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64}"}, "uuid": name}


def test_each_image_is_replaced_by_its_picture():
    """In order, through all messages; the engine sees data URLs and nothing to fetch."""
    messages = [{"role": "user", "content": [TEXT, IMAGE]}, {"role": "user", "content": [IMAGE]}]
    pictures = [
        Picture("data:image/png;base64,AAAA", "first", 1, place=Place(0, 1)),
        Picture("data:image/png;base64,BBBB", "second", 1, place=Place(1, 0)),
    ]
    body = engine_request(parse(orjson.dumps({"model": "demo", "messages": messages})), CARD, pictures, 64)
    first, second = body["messages"]
    assert first["content"] == [TEXT, shown("AAAA", "first")]
    assert second["content"] == [shown("BBBB", "second")]
    assert "example.org" not in str(body)


def test_a_document_becomes_its_pages():
    """One part may be several pictures, and they stand where it stood."""
    part = {"type": "file", "file": {"file_id": "file-1"}}
    sent = {"model": "demo", "messages": [{"role": "user", "content": [TEXT, part, TEXT]}]}
    pages = [Picture("data:image/png;base64,AAAA", name, 1, place=Place(0, 1, "file")) for name in ("one", "two")]
    (message,) = engine_request(parse(orjson.dumps(sent)), CARD, pages, 64)["messages"]
    assert message["content"] == [TEXT, shown("AAAA", "one"), shown("AAAA", "two"), TEXT]


def test_only_vllm_is_told_the_names_of_pictures():
    """No other engine has a field for them."""
    sent = {"model": "demo", "messages": [{"role": "user", "content": [IMAGE]}]}
    card = CARD.model_copy(update={"engine": CARD.engine.model_copy(update={"name": "lmdeploy"})})
    body = engine_request(parse(orjson.dumps(sent)), card, [Picture("data:image/png;base64,AAAA", "name", 1)], 64)
    assert "uuid" not in body["messages"][0]["content"][0]


def test_a_video_is_sent_as_its_frames():
    """With their number and their rate: the engine takes all of them and knows how much time passes between."""
    part = {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}}
    sent = {"model": "demo", "messages": [{"role": "user", "content": [part]}]}
    clip = Picture("data:video/jpeg;base64,AAAA,BBBB", "clip", 8, 32, Place(0, 0, "video_url"), "video", 2, 0.5)
    body = engine_request(parse(orjson.dumps(sent)), CARD, [clip], 64)
    assert body["messages"][0]["content"] == [
        {"type": "video_url", "video_url": {"url": clip.data_url}, "uuid": "clip"},
    ]
    assert body["media_io_kwargs"] == {"video": {"num_frames": 2, "fps": 0.5}}


def test_what_is_ours_to_decide_is_not_passed_on():
    """The output is always bounded by what the hold paid for."""
    body = sent(user="ann", metadata={"a": "b"}, store=False, max_completion_tokens=10**6, seed=7)
    assert body == {"model": "demo-qwen2-vl", "messages": DATA["messages"], "max_tokens": 64, "seed": 7}


def test_a_stream_is_always_asked_for_its_usage():
    """In every chunk, whatever the client wants to see of it: a broken-off answer must be priced."""
    body = sent(stream=True, stream_options={"include_usage": False})
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


CHUNKS = b'data: {"choices": []}\n\n' * 2


@pytest.mark.parametrize(
    ("body", "complete"),
    [
        (CHUNKS + b"data: [DONE]\n\n", True),
        (CHUNKS + b"", False),  # no [DONE]
        (CHUNKS + b"data: [DO", False),
        (CHUNKS + b'data: {"error": {}}\n\n', False),
        (CHUNKS + b"data: {\n\n", False),
    ],
)
async def test_a_stream_is_complete_with_its_mark(body: bytes, complete: bool):
    """Whatever ends otherwise broke off; the chunks before are relayed."""
    async with running_engine() as engine:
        engine.behaves, engines, seen = sends(body), Engines(), []
        async with engines.ask(Replica("r", engine.url, "token"), "id", b"{}", 2048) as answer:
            with nullcontext() if complete else pytest.raises(EngineBrokeOff):
                async for chunk in answer.chunks():
                    seen.append(chunk)  # noqa: PERF401  # those before the failure count
        await engines.close()
    assert seen == [{"choices": []}] * 2


@pytest.mark.parametrize("sent", [0, 1, 3])
async def test_who_leaves_is_told_by_name_too(sent: int):
    """Before an answer has begun and in the middle of it; with the name of this execution alone."""
    async with running_engine() as engine:
        engine.behaves, engines = parks_after(sent), Engines()
        asking = asyncio.create_task(_read(engines, engine.url, b'{"stream": true}'))
        await engine.parked.wait()
        asking.cancel()
        name = await engine.aborted.get()
        await engine.hung_up.wait()
        assert name == f"chatcmpl-{engine.headers[0]['x-request-id']}"
        assert name.startswith("chatcmpl-id-")
        await asyncio.gather(asking, return_exceptions=True)
        await engines.close()


async def test_two_executions_of_a_request_have_two_names():
    """So that the end of one is not the end of the other."""
    async with running_engine() as engine:
        engines = Engines()
        for _ in range(2):
            await _read(engines, engine.url, b'{"stream": true}')
        await engines.close()
    first, second = (headers["x-request-id"] for headers in engine.headers)
    assert first != second
    assert engine.aborted.empty()  # both were read to their end


async def test_a_refusal_leaves_nothing_to_end():
    async with running_engine() as engine:
        engine.behaves, engines = refuses(400, "no"), Engines()
        with pytest.raises(BadRequest):
            await _read(engines, engine.url, b"{}")
        engine.behaves = parks_after(1)
        asking = asyncio.create_task(_read(engines, engine.url, b'{"stream": true}'))
        await engine.parked.wait()
        asking.cancel()
        assert await engine.aborted.get() == f"chatcmpl-{engine.headers[1]['x-request-id']}"
        await asyncio.gather(asking, return_exceptions=True)
        await engines.close()


async def _read(engines: Engines, url: str, body: bytes) -> None:
    async with engines.ask(Replica("r", url, "token"), "id", body, 2048) as answer:
        async for _ in answer.chunks():
            pass


@pytest.mark.parametrize("times", [1, 2])
async def test_an_engine_that_stumbles_is_asked_once_more(times: int):
    """Whole and streamed; who reads a stream is told once who speaks, and all the rest."""
    for body in (b"{}", b'{"stream": true}'):
        async with running_engine() as engine:
            engine.behaves, engines = stumbles(times), Engines()
            with nullcontext() if times == 1 else pytest.raises((EngineFailed, EngineBrokeOff)):
                async with engines.ask(Replica("r", engine.url, "token"), "id", body, 2048) as answer:
                    if body == b"{}":
                        assert await answer.whole() == whole()
                    else:
                        assert [chunk async for chunk in answer.chunks()] == chunks()
            assert len(engine.asked) == 2
            await engines.close()


async def test_events_may_be_cut_anywhere():
    """A stream read in pieces gives the same chunks as one read at once."""

    class Content:
        async def iter_any(self):
            data = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks()) + b"data: [DONE]\n\n"
            for byte in data:
                yield bytes([byte])

    class Response:
        content = Content()

    async def again():
        raise AssertionError

    assert [chunk async for chunk in EngineAnswer(Response(), again).chunks()] == chunks()
