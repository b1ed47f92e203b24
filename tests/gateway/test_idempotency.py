"""One request that is sent twice: by its `Idempotency-Key`, or by an SDK that tries again by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import openai
import orjson
import pytest
import uvicorn

from accounting.command import AddKey, FirstByte, Outcome, Result
from accounting.key import Scope, mint
from accounting.limits import RateLimits
from deployments.gateway import attempts
from deployments.gateway.attempts import keep_ending
from tests.gateway.client import Client
from tests.gateway.engine_server import (
    CONTENT_CHUNKS,
    WORDS,
    Behaviour,
    answers,
    chunks,
    dies_after,
    parks_after,
    pauses_after,
    refuses,
    says,
    whole,
)
from tests.gateway.house import HOLD, STREAM, House, charge_nano, question, running_house

COMPLETE_NANO = charge_nano(len(WORDS))
WAIT_S = 10.0  # never reached: these waits end by an event
KEYED = {"idempotency_key": "my request"}
RETRY = {"x_stainless_retry_count": "1"}
REPLAYED = "x-idempotent-replay"
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


async def test_an_answer_is_told_again(house: House):
    """The very same one, id and usage included; it says that it is."""
    first, second = [await house.ask(question(), **KEYED) for _ in range(2)]
    assert (second.status, second.body) == (200, first.body)
    assert second.headers["x-vlm-request-id"] == first.headers["x-vlm-request-id"]
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert house.metrics.outcomes == [Outcome.COMPLETE, Outcome.REPLAYED]
    assert len(house.engine.asked) == 1
    assert await house.charges_nano() == [COMPLETE_NANO]


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}], ids=["", "with usage"])
async def test_a_stream_is_told_again_in_one_chunk(house: House, options: dict[str, object]):
    """All of the text at once, the usage if it was asked for, [DONE]."""
    first, second = [await house.ask(question(stream=True, **options), **KEYED) for _ in range(2)]
    content, *last = second.events
    assert content["id"] == first.events[0]["id"]
    assert content["choices"][0]["delta"] == {"role": "assistant", "content": "".join(WORDS)}
    assert content["choices"][0]["finish_reason"] == "stop"
    assert last == first.events[CONTENT_CHUNKS:]
    assert second.headers[REPLAYED] == "true"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(house.engine.asked) == 1
    assert await house.charges_nano() == [COMPLETE_NANO]


async def test_tool_calls_are_told_again(house: House):
    """With the index by which OpenAI's clients put them together."""
    role, *_, last = chunks()
    delta = {"tool_calls": [{"index": 0} | CALL]}
    calling = role | {"choices": [role["choices"][0] | {"delta": delta, "finish_reason": "tool_calls"}]}
    house.engine.behaves = says(whole(), [role, calling, last])
    _, second = [await house.ask(question(stream=True), **KEYED) for _ in range(2)]
    assert second.events[0]["choices"][0]["delta"]["tool_calls"] == [{"index": 0} | CALL]


async def test_what_a_client_left_is_no_answer_and_the_next_request_runs(house: House):
    """What it was sent is paid for; the whole answer is another one, and told again as often as it is asked for."""
    house.engine.behaves = parks_after(2)
    client, asking = house.begin(question(**STREAM), **KEYED)
    await client.has(2)
    client.leave()
    await asking
    other = await house.ask(question(**STREAM, temperature=1), **KEYED)
    assert (other.status, other.error["code"]) == (400, "idempotency_key_reuse")
    house.engine.behaves = answers
    again = await house.ask(question(**STREAM), **KEYED)
    assert REPLAYED not in again.headers
    assert again.events[-3]["choices"][0]["finish_reason"] == "stop"
    assert (await house.ask(question(**STREAM), **KEYED)).headers[REPLAYED] == "true"
    assert await house.charges_nano() == [charge_nano(1), COMPLETE_NANO]


async def test_a_request_that_still_runs_is_not_run_twice(house: House):
    """Whoever asks meanwhile is told to come back, and then gets the answer."""
    house.engine.behaves = pauses_after(0)
    first, asking = house.begin(question(), **KEYED)
    await house.engine.was_asked(1)
    early = await house.ask(question(), **KEYED)
    assert (early.status, early.error["code"]) == (409, "idempotency_in_progress")
    assert early.headers["retry-after"] == "1"
    house.engine.resume(0)
    await asking
    late = await house.ask(question(), **KEYED)
    assert late.body == first.body
    assert await house.charges_nano() == [COMPLETE_NANO]


@pytest.mark.parametrize("still_runs", [True, False])
async def test_a_key_names_one_body(house: House, still_runs: bool):
    """With another body it is a mistake, which must not be answered with something else."""
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question(), **KEYED)
    await house.engine.was_asked(1)
    if not still_runs:
        house.engine.resume(0)
        await asking
    other = await house.ask(question(temperature=1), **KEYED)
    assert (other.status, other.error["code"]) == (400, "idempotency_key_reuse")
    assert other.error["param"] == "Idempotency-Key"
    assert len(house.engine.asked) == 1
    house.engine.resume(0)
    await asking


@pytest.mark.parametrize(
    ("behaves", "status"), [(refuses(400, "bad grammar"), 400), (dies_after(0), 500)], ids=["refused", "failed"]
)
async def test_a_request_that_came_to_nothing_leaves_its_key_free(house: House, behaves: Behaviour, status: int):
    """The next one runs, whatever its body."""
    house.engine.behaves = behaves
    assert (await house.ask(question(), **KEYED)).status == status
    house.engine.behaves = answers
    again = await house.ask(question(temperature=1), **KEYED)
    assert again.status == 200
    assert REPLAYED not in again.headers
    assert await house.charges_nano() == [COMPLETE_NANO]


async def test_a_request_that_was_not_admitted_leaves_its_key_free(house: House):
    """A rate limit is waited for with the same key."""
    await house.change_key(limits=RateLimits(requests_per_minute=1))
    await house.ask(question())
    assert (await house.ask(question(), **KEYED)).status == 429
    house.clock.ms += 60_000
    again = await house.ask(question(), **KEYED)
    assert again.status == 200
    assert REPLAYED not in again.headers


@pytest.mark.parametrize(("key", "status"), [("", 400), ("k" * 256, 400), ("k" * 255, 200), ("k", 200)])
async def test_a_key_has_a_length(house: House, key: str, status: int):
    """The header is named where it is wrong."""
    client = await house.ask(question(), idempotency_key=key)
    assert client.status == status
    if status == 400:
        assert client.error["param"] == "Idempotency-Key"
        assert house.engine.asked == []


async def test_each_api_key_has_names_of_its_own(house: House):
    """What one key calls its request says nothing of another's."""
    other, record = mint("org", "project", "other", (Scope.INFERENCE,))
    await house.do(AddKey(record))
    await house.ask(question(), **KEYED)
    client = await Client(question(temperature=1), other, **KEYED).ask(house.app)
    assert client.status == 200
    assert REPLAYED not in client.headers
    assert len(await house.charges_nano()) == 2


@pytest.mark.parametrize(("tier", "days"), [("default", 1), ("batch", 7)])
async def test_a_key_is_forgotten_after_its_time(house: House, tier: str, days: int):
    """Then it names a new request. A batch's worker may be away for a while before it asks again."""
    await house.ask(question(), **KEYED, x_tier=tier)
    house.clock.ms += days * 24 * 3_600_000 - 1
    assert (await house.ask(question(), **KEYED, x_tier=tier)).headers[REPLAYED] == "true"
    house.clock.ms += 1
    again = await house.ask(question(temperature=1), **KEYED, x_tier=tier)
    assert again.status == 200
    assert REPLAYED not in again.headers


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize("headers", [{}, KEYED], ids=["no key", "key"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first first", "retry first"])
async def test_a_retry_goes_on_with_the_first_try(
    house: House, fields: dict[str, object], headers: dict[str, str], order: tuple[int, int]
):
    """One hold, one charge, one answer: the retry's, whichever of them the engine has ready first."""
    house.engine.behaves = pauses_after(0)
    tries = [house.begin(question(**fields), **headers)]
    await house.engine.was_asked(1)
    tries.append(house.begin(question(**fields), **headers, **RETRY))
    await house.engine.was_asked(2)
    for i in order:
        house.engine.resume(i)
        await tries[i][1]
    (first, _), (retry, _) = tries
    assert retry.status == 200
    assert retry.complete
    assert error_code(first) == "idempotency_in_progress"
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (COMPLETE_NANO, Outcome.COMPLETE)
    assert row["request_id"] == retry.headers["x-vlm-request-id"]


def error_code(client: Client) -> str:
    """What an answer says that is an error, or a stream that ends with one."""
    if client.status == 200:
        return client.events[-1]["error"]["code"]
    return client.error["code"]


async def test_a_try_that_was_taken_over_stops_as_soon_as_that_is_known(house: House):
    """By a retry in another gateway: its first chunk may be gone; then the engine is let off, and the client told."""
    house.engine.behaves = pauses_after(0, 1)
    first, asking = house.begin(question(**STREAM))
    await house.engine.was_asked(1)
    await retried_elsewhere(house)
    house.engine.resume(0)
    await first.has(1)
    await house.ledger.submit(FirstByte("none", 1))  # answered after the first try's own
    house.engine.resume(0)
    await asking
    assert len(first.events) == 2
    assert error_code(first) == "idempotency_in_progress"
    assert house.metrics.outcomes == [Outcome.CLIENT_LEFT_EARLY]


async def test_a_try_that_was_taken_over_is_let_off_its_engine_at_once(house: House):
    """A key that may run one request at once runs one, however often it is sent again; each of them counts."""
    await house.change_key(limits=RateLimits(requests_per_minute=4, concurrency=1))
    house.engine.behaves = parks_after(0)
    tries = []
    for number in range(3):
        tries.append(house.begin(question(), **(RETRY if number else {})))
        await house.engine.was_asked(number + 1)
        assert house.router.held == 1
    (first, asked), (second, asked_again), (third, last) = tries
    await asyncio.wait_for(asyncio.gather(asked, asked_again), WAIT_S)
    assert [(one.status, one.error["code"]) for one in (first, second)] == [(409, "idempotency_in_progress")] * 2
    third.leave()
    await last
    assert house.router.held == 0
    (row,) = await house.usage()
    assert (row["outcome"], row["charged_nano"]) == (Outcome.CLIENT_LEFT_EARLY, 0)
    # Where and how long each of them kept a replica busy.
    assert [attempt["replica_id"] for attempt in house.rows("SELECT replica_id FROM attempt")] == ["replica-1"] * 3


async def test_a_try_that_another_gateway_took_over_is_let_off_a_moment_later(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """Though it has sent nothing, and so does not ask."""
    monkeypatch.setattr(attempts, "LOOK_EVERY_S", 0.01)
    looking = asyncio.create_task(keep_ending(house.books.attempts, house.ledger))
    house.engine.behaves = parks_after(0)
    first, asking = house.begin(question())
    await house.engine.was_asked(1)
    await retried_elsewhere(house)
    await asking
    await house.engine.hung_up.wait()
    assert (first.status, first.error["code"]) == (409, "idempotency_in_progress")
    looking.cancel()


async def test_a_try_that_shared_an_answer_hands_its_place_to_its_retry(house: House):
    """The engine goes on with what it began."""
    house.engine.behaves = pauses_after(0)
    first, asking = house.begin(question(temperature=0))
    await house.engine.was_asked(1)
    retry, retrying = house.begin(question(temperature=0), **RETRY)
    await asyncio.wait_for(asking, WAIT_S)
    assert (first.status, first.error["code"]) == (409, "idempotency_in_progress")
    house.engine.resume(0)
    await retrying
    assert retry.status == 200
    assert len(house.engine.asked) == 1
    assert await house.charges_nano() == [COMPLETE_NANO]


async def retried_elsewhere(house: House) -> None:
    """Another gateway's hold for the retry of the one request that runs."""
    (row,) = house.rows("SELECT key_id, model, price_version, amount_nano, body_sha FROM hold WHERE state = 'open'")
    reply = await house.ledger.submit(replace(HOLD, **row, request_id="retry", gateway_id="gw_2", is_retry=True))
    assert reply.result is Result.TAKEN_OVER


async def test_a_stream_that_has_begun_is_not_taken_over(house: House):
    """Its client has had a part of it: the retry is a request of its own, and both are charged."""
    house.engine.behaves = pauses_after(2)
    first, asking = house.begin(question(**STREAM))
    await first.has(2)
    retry, retrying = house.begin(question(**STREAM), **RETRY)
    await house.engine.was_asked(2)
    for i in range(2):
        house.engine.resume(i)
    await asyncio.gather(asking, retrying)
    assert first.events[-1] == retry.events[-1] == "[DONE]"
    assert await house.charges_nano() == [COMPLETE_NANO] * 2


async def test_a_retry_of_a_stream_that_has_begun_waits_for_its_key(house: House):
    """With an idempotency key the same request is never charged twice."""
    house.engine.behaves = pauses_after(2)
    first, asking = house.begin(question(**STREAM), **KEYED)
    await first.has(2)
    retry = await house.ask(question(**STREAM), **KEYED, **RETRY)
    assert (retry.status, retry.error["code"]) == (409, "idempotency_in_progress")
    house.engine.resume(0)
    await asking
    assert await house.charges_nano() == [COMPLETE_NANO]


@pytest.mark.parametrize("headers", [{}, {"x_stainless_retry_count": "0"}, {"x_stainless_retry_count": "no"}])
async def test_two_equal_requests_are_two(house: House, headers: dict[str, str]):
    """Only who says that it tries again is taken for the same."""
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question())
    await house.engine.was_asked(1)
    _, asking_too = house.begin(question(), **headers)
    await house.engine.was_asked(2)
    for i in range(2):
        house.engine.resume(i)
    await asyncio.gather(asking, asking_too)
    assert await house.charges_nano() == [COMPLETE_NANO] * 2


@pytest.mark.parametrize("count", ["1", "2", "9" * 5000])
async def test_a_retry_with_nothing_to_go_on_with_is_a_request(house: House, count: str):
    """The first try was refused, or never came."""
    client = await house.ask(question(), x_stainless_retry_count=count)
    assert client.status == 200
    assert await house.charges_nano() == [COMPLETE_NANO]


async def test_a_retry_of_another_body_is_a_request(house: House):
    """Nobody is answered with what somebody else asked."""
    house.engine.behaves = pauses_after(0)
    first, asking = house.begin(question())
    await house.engine.was_asked(1)
    retry, retrying = house.begin(question(temperature=1), **RETRY)
    await house.engine.was_asked(2)
    for i in range(2):
        house.engine.resume(i)
    await asyncio.gather(asking, retrying)
    assert (first.status, retry.status) == (200, 200)
    assert len(await house.charges_nano()) == 2


@asynccontextmanager
async def served(house: House) -> AsyncIterator[int]:
    """The gateway behind a real HTTP server, on this port."""
    config = uvicorn.Config(house.app, port=0, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    serving = asyncio.create_task(server.serve(sockets))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.001)
    try:
        yield sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


class BadLine:
    """A way to a server that loses its first client: the server does not notice, and goes on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._upstream: list[asyncio.StreamWriter] = []
        self.first_is_through = asyncio.Event()
        self.to_nobody = b""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        is_first = not self._upstream
        self._upstream.append(server_writer)
        sending = asyncio.create_task(_pass(reader, server_writer))
        if is_first:
            await self.first_is_through.wait()
            sending.cancel()
            writer.close()
            self.to_nobody = await server_reader.read(2**16)
        else:
            await _pass(server_reader, writer)
            sending.cancel()
        server_writer.close()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)


async def test_openais_client_is_charged_once_for_a_connection_that_broke(house: House):
    """Its own retry, of which the caller knows nothing, goes on with the first try."""
    house.engine.behaves = pauses_after(0)
    async with served(house) as port:
        line = BadLine(port)
        proxy = await asyncio.start_server(line.connected, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/v1"
        async with openai.AsyncOpenAI(api_key=house.key, base_url=url, max_retries=2) as client:
            client._calculate_retry_timeout = lambda *_: 0.0  # at once
            asking = asyncio.create_task(client.chat.completions.create(**orjson.loads(question())))
            await house.engine.was_asked(1)
            line.first_is_through.set()
            await house.engine.was_asked(2)
            for i in range(2):
                house.engine.resume(i)
            answer = await asking
        proxy.close()
    assert answer.choices[0].message.content == "".join(WORDS)
    assert b" 409 " in line.to_nobody
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (COMPLETE_NANO, Outcome.COMPLETE)


async def test_openais_client_reads_an_answer_that_is_told_again(tmp_path: Path):
    """Whole and streamed."""
    async with running_house(tmp_path) as house, served(house) as port:
        url = f"http://127.0.0.1:{port}/v1"
        async with openai.AsyncOpenAI(
            api_key=house.key, base_url=url, default_headers={"Idempotency-Key": "k"}
        ) as client:
            asked = orjson.loads(question(**STREAM))
            texts = []
            for _ in range(2):
                stream = await client.chat.completions.create(**asked)
                parts = [chunk async for chunk in stream]
                texts.append("".join(part.choices[0].delta.content or "" for part in parts if part.choices))
                assert parts[-1].usage.cost_details["charged_nano"] == COMPLETE_NANO
        assert texts == ["".join(WORDS)] * 2
        assert len(house.engine.asked) == 1
