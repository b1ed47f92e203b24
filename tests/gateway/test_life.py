"""Who pays what, however a request ends: `docs/money.md`, read from the ledger afterwards."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.budget import Period
from accounting.command import AddPrice, Outcome, Result, SetBudget
from accounting.price import FREE_OUTPUT_TOKENS
from catalog import ModelCard
from deployments.gateway import life
from deployments.gateway.asgi import Exchange
from deployments.gateway.forming import budget, former
from deployments.gateway.life import ChatLimits, may_share
from deployments.gateway.media import allowance
from deployments.gateway.request import parse
from tests.gateway.client import Client
from tests.gateway.engine_server import (
    CONTENT_CHUNKS,
    VISION_TOKENS,
    WORDS,
    Behaviour,
    answers,
    chunks,
    dies,
    dies_after,
    dies_with,
    parks_after,
    pauses_after,
    refuses,
    says,
    sends,
    whole,
)
from tests.gateway.house import CARD, PRICE, STREAM, House, charge_nano, question, running_house
from tests.gateway.media.hostile import exploding_pdf
from tests.gateway.media.samples import data_url, image, pdf

WAIT_S = 10.0  # never reached: these waits end by an event
DAY_MS = 86_400_000
COMPLETE_NANO = charge_nano(len(WORDS))


async def test_a_whole_answer_is_charged(house: House):
    """The answer is OpenAI's shape with the price in it; the ledger has posted exactly that."""
    client = await house.ask(question())
    assert client.status == 200
    assert client.json["choices"][0]["message"] == {"role": "assistant", "content": "A red circle."}
    assert client.json["usage"]["cost_details"]["charged_nano"] == COMPLETE_NANO
    assert client.headers["x-vlm-price-nanousd"] == str(COMPLETE_NANO)
    (row,) = await house.usage()
    assert (row["outcome"], row["charged_nano"], row["images"]) == (Outcome.COMPLETE, COMPLETE_NANO, 1)
    assert (row["vision_tokens"], row["output_tokens"], row["replica_id"]) == (VISION_TOKENS, len(WORDS), "replica-1")


async def test_a_stream_is_relayed_and_charged(house: House):
    """Every chunk with `usage: null`, one with the usage and no choices, then [DONE]."""
    client = await house.ask(question(**STREAM))
    *content, last, done = client.events
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in content) == "A red circle."
    assert [event["usage"] for event in content] == [None] * CONTENT_CHUNKS
    assert (last["choices"], done) == ([], "[DONE]")
    (row,) = await house.usage()
    assert (row["outcome"], row["charged_nano"]) == (Outcome.COMPLETE, COMPLETE_NANO)


async def test_a_stream_costs_what_a_whole_answer_costs(house: House):
    """Usage and price are equal, field by field."""
    plain, stream = await house.ask(question()), await house.ask(question(**STREAM))
    assert stream.events[-2]["usage"] == plain.json["usage"]
    first, second = await house.usage()
    same = first.keys() - {"request_id"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(output_tokens=st.integers(0, FREE_OUTPUT_TOKENS))
async def test_every_length_costs_the_same_streamed_or_not(house: House, output_tokens: int):
    """From nothing said to the most that a request may ask for."""
    words = ["a "] * output_tokens
    house.engine.behaves = says(whole(words), chunks(words))
    asks = [question(max_tokens=FREE_OUTPUT_TOKENS, **fields) for fields in ({}, STREAM)]
    plain, stream = [await house.ask(body) for body in asks]
    assert stream.events[-2]["usage"] == plain.json["usage"]
    charged = [house.charged_nano(client) for client in (plain, stream)]
    assert charged == [charge_nano(output_tokens)] * 2


async def test_a_stream_without_the_usage_is_charged_all_the_same(house: House):
    """The client decides what it is told, not what it pays."""
    client = await house.ask(question(stream=True))
    assert len(client.events) == CONTENT_CHUNKS + 1
    (row,) = await house.usage()
    assert row["charged_nano"] == COMPLETE_NANO


@pytest.mark.parametrize(
    ("sent", "charged_nano", "outcome"),
    [
        (0, 0, Outcome.CLIENT_LEFT_EARLY),
        (1, 0, Outcome.CLIENT_LEFT_EARLY),  # the role, no output
        *((1 + n, charge_nano(n), Outcome.CLIENT_LEFT) for n in range(1, 1 + len(WORDS))),
        (1 + CONTENT_CHUNKS, COMPLETE_NANO, Outcome.CLIENT_LEFT),  # all but [DONE]
    ],
)
async def test_a_client_that_leaves_pays_for_what_it_saw(house: House, sent: int, charged_nano: int, outcome: Outcome):
    """Nothing if it saw no output; else the image in full and the output so far. The engine stops working."""
    house.engine.behaves = parks_after(sent)
    client, asking = house.begin(question(**STREAM))
    await house.engine.parked.wait()
    if sent:
        await client.has(min(sent, CONTENT_CHUNKS))
    client.leave()
    await asking
    await house.engine.hung_up.wait()
    assert not client.complete
    assert house.router.held == 0
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (charged_nano, outcome)


async def test_a_client_that_leaves_after_the_end_has_had_it_all(house: House):
    """[DONE] was sent: what a connection does then is of no account."""
    client, asking = house.begin(question(**STREAM))
    await asking
    client.leave()
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (COMPLETE_NANO, Outcome.COMPLETE)


async def test_leaving_a_whole_answer_is_free(house: House):
    """The client saw nothing of it."""
    house.engine.behaves = parks_after(0)
    client, asking = house.begin(question())
    await house.engine.parked.wait()
    client.leave()
    await asking
    await house.engine.hung_up.wait()
    assert client.sent == []
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.CLIENT_LEFT_EARLY)


async def test_a_request_that_the_server_cancels_is_settled(house: House):
    """Serve cancels the request's own task on a disconnect: the money is not that task's to lose."""
    house.engine.behaves = parks_after(CONTENT_CHUNKS)
    client, asking = house.begin(question(**STREAM))
    await client.has(CONTENT_CHUNKS)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (COMPLETE_NANO, Outcome.CLIENT_LEFT)


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("behaves", "status", "code", "outcome"),
    [
        (dies_after(0), 500, "server_error", Outcome.ENGINE_FAILED),
        (dies(), 503, "model_warming", Outcome.NO_REPLICA),
        (dies_with(500), 503, "model_warming", Outcome.NO_REPLICA),
        (refuses(500, "out of memory"), 500, "server_error", Outcome.ENGINE_FAILED),
        (refuses(401, "Unauthorized"), 500, "server_error", Outcome.ENGINE_FAILED),
        (refuses(400, "This model's maximum context length is 2048"), 400, "context_length_exceeded", Outcome.REFUSED),
        (refuses(400, "bad grammar: SECRET"), 400, None, Outcome.REFUSED),
        (refuses(400, "Failed to load image: SECRET"), 400, "image_parse_error", Outcome.REFUSED),
        (sends(b"data: not JSON: SECRET\n\n"), 500, "server_error", Outcome.ENGINE_FAILED),
    ],
)
async def test_a_failure_before_the_first_byte_is_free(
    house: House, behaves: Behaviour, status: int, code: str | None, outcome: Outcome, fields: dict[str, object]
):
    """It has its true status, streamed or not, and the engine's own words stay with us."""
    house.engine.behaves = behaves
    client = await house.ask(question(**fields))
    assert (client.status, client.error["code"]) == (status, code)
    assert b"SECRET" not in client.body
    assert house.metrics.outcomes == [outcome]
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, outcome)


@pytest.mark.parametrize("sent", range(1, 1 + CONTENT_CHUNKS))
async def test_a_failure_in_mid_stream_is_free(house: House, sent: int):
    """What came stays, then one event tells the failure in both habits, and there is no [DONE]."""
    house.engine.behaves = dies_after(sent)
    client = await house.ask(question(**STREAM))
    *content, failure = client.events
    assert client.status == 200
    assert client.complete
    assert len(content) == sent
    assert failure["choices"] == [{"index": 0, "delta": {}, "finish_reason": "error"}]
    assert failure["error"]["code"] == "server_error"
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.ENGINE_FAILED)


async def test_an_error_event_of_the_engine_is_a_failure(house: House):
    """Its words are not passed on."""
    house.engine.behaves = sends(b'data: {"error": {"message": "SECRET"}}\n\n')
    client = await house.ask(question(**STREAM))
    assert (client.status, client.error["code"]) == (500, "server_error")
    assert b"SECRET" not in client.body


async def test_a_stream_that_ends_without_usage_is_a_failure(house: House):
    """An answer whose work is unknown is not charged, so it is not called complete either."""
    house.engine.behaves = sends(b"data: [DONE]\n\n")
    client = await house.ask(question(**STREAM))
    assert (client.status, client.error["code"]) == (500, "server_error")
    (row,) = await house.usage()
    assert row["charged_nano"] == 0


def said(**fields: object) -> Behaviour:
    """An engine that says this of its usage, whole and in every chunk."""
    lie = whole()["usage"] | fields
    return says(whole() | {"usage": lie}, [chunk | {"usage": lie} for chunk in chunks()])


FINISHED_BY = [{"finish_reason": 7}, {"finish_reason": "x" * 65}, {"finish_reason": {"a": 1}}, {"finish_reason": None}]


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "behaves",
    [
        *(said(completion_tokens=lie) for lie in (-1, 3.7, 2**70, 10**9 + 1, "3", True, [3])),
        *(said(prompt_tokens=lie) for lie in (-5, 46.5, 2**70, "46", {})),
        *(
            said(prompt_tokens_details=lie)
            for lie in ([1], "x", {"cached_tokens": -7}, {"multimodal_tokens": {"image": "x"}})
        ),
        says(whole() | {"usage": {}}, [chunk | {"usage": {}} for chunk in chunks()]),
        says(whole() | {"usage": [1, 2]}, [chunk | {"usage": [1, 2]} for chunk in chunks()]),
        says(whole() | {"choices": ["x"]}, [chunk | {"choices": ["x"]} for chunk in chunks()]),
        *(
            says(
                whole() | {"choices": [whole()["choices"][0] | lie]},
                [chunk | {"choices": [choice | lie for choice in chunk["choices"]]} for chunk in chunks()],
            )
            for lie in FINISHED_BY
        ),
        says(
            whole() | {"choices": [whole()["choices"][0] | {"message": "x"}]},
            [chunk | {"choices": [choice | {"delta": "x"} for choice in chunk["choices"]]} for chunk in chunks()],
        ),
    ],
)
async def test_an_engine_that_says_nonsense_has_failed(house: House, behaves: Behaviour, fields: dict[str, object]):
    """Its answer is none, nothing is charged, and the hold ends with the request."""
    house.engine.behaves = behaves
    client = await house.ask(question(**fields))
    error = client.events[-1] if client.status == 200 else client.json
    assert error["error"]["code"] == "server_error"
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.ENGINE_FAILED)


async def test_an_engine_that_counts_more_than_was_asked_for_is_paid_the_hold(house: House):
    """No caller pays more than it was told."""
    house.engine.behaves = said(completion_tokens=10**9)
    client = await house.ask(question())
    assert client.status == 200
    assert await house.charges_nano() == [int(client.headers["x-vlm-hold-nanousd"])]


async def test_a_reader_who_stops_reading_pays_for_what_it_was_sent(tmp_path: Path):
    """As one who hangs up: the deadline that it runs into is not our fault. Nothing more is sent to it."""
    async with running_house(tmp_path, limits=ChatLimits(deadline_s=2.0)) as house:
        client = Client(question(**STREAM), house.key)
        client.reads = 2
        await client.ask(house.app)
        (row,) = await house.usage()
        # One word was read, and one is on the way.
        assert (row["charged_nano"], row["outcome"]) == (charge_nano(2), Outcome.CLIENT_LEFT)
        assert not client.complete
        assert house.router.held == 0


async def test_a_reader_who_does_not_take_the_end_keeps_no_replica(house: House, monkeypatch: pytest.MonkeyPatch):
    """It has been charged for all of it, which was there."""
    monkeypatch.setattr(life, "DELIVERY_S", 0.1)
    client = Client(question(), house.key)
    client.reads = 0
    await client.ask(house.app)
    assert house.router.held == 0
    assert await house.charges_nano() == [COMPLETE_NANO]


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_a_clock_that_leaps_ends_no_request(house: House, fields: dict[str, object]):
    """Set forward by more than a hold lives: who is being answered is answered, and charged."""
    house.engine.behaves = pauses_after(2)
    client, asking = house.begin(question(**fields))
    await house.engine.was_asked(1)
    await house.writer.sweep()
    house.clock.ms += 11 * 60_000
    await house.writer.sweep()
    house.engine.resume(0)
    await asking
    assert (client.status, client.complete) == (200, True)
    assert await house.charges_nano() == [COMPLETE_NANO]


async def test_an_engine_that_does_not_listen_is_starting(house: House):
    """Its supervisor restarts it: the caller comes back in some seconds."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        house.router.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "model_warming")
    assert 0 < int(client.headers["retry-after"]) <= 120
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.NO_REPLICA)


async def test_an_engine_that_never_answers_is_left_at_the_clients_deadline(house: House):
    """OpenAI's SDK tells how long it will wait; nobody works longer than that."""
    house.engine.behaves = parks_after(0)
    client = await house.ask(question(), x_stainless_read_timeout="0.2")
    await house.engine.hung_up.wait()
    assert (client.status, client.error["code"]) == (503, "overloaded")
    (row,) = await house.usage()
    assert (row["charged_nano"], row["outcome"]) == (0, Outcome.TIMED_OUT)


async def test_a_stream_is_cut_at_the_operators_deadline(tmp_path: Path):
    """In mid-stream it is told as an event, and free."""
    async with running_house(tmp_path, limits=ChatLimits(deadline_s=0.3)) as house:
        house.engine.behaves = parks_after(2)
        client = await house.ask(question(**STREAM))
        assert client.events[-1]["error"]["type"] == "server_error"
        (row,) = await house.usage()
        assert (row["charged_nano"], row["outcome"]) == (0, Outcome.TIMED_OUT)


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_a_price_that_changes_on_the_way_is_the_next_requests(house: House, fields: dict[str, object]):
    """The version of the admission is charged."""
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question(**fields))
    await house.engine.was_asked(1)
    dearer = replace(PRICE, version=2, unit_nano=2 * PRICE.unit_nano, output_token_nano=2 * PRICE.output_token_nano)
    assert await house.do(AddPrice(dearer)) == [Result.CREATED]
    house.prices[PRICE.model] = dearer
    house.engine.resume(0)
    await asking
    house.engine.behaves = answers
    await house.ask(question(**fields))
    assert [(row["price_version"], row["charged_nano"]) for row in await house.usage()] == [
        (1, COMPLETE_NANO),
        (2, charge_nano(len(WORDS), dearer)),
    ]


async def test_the_day_of_the_admission_pays(house: House):
    """A request of a day's last millisecond is that day's, in budget and usage, whenever it ends."""
    house.clock.ms = DAY_MS - 1
    await house.do(SetBudget(scope="org:org", period=Period.DAY, limit_nano=10**6))
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question())
    await house.engine.was_asked(1)
    house.clock.ms = DAY_MS + 1
    house.engine.resume(0)
    await asking
    await house.usage()
    assert house.rows("SELECT id, posted_nano, reserved_nano FROM account WHERE id LIKE 'bud:%'") == [
        {"id": "bud:org:org:1970-01-01", "posted_nano": COMPLETE_NANO, "reserved_nano": 0}
    ]
    assert house.rows("SELECT start_ms, revenue_nano FROM rollup WHERE width = '1d'") == [
        {"start_ms": 0, "revenue_nano": COMPLETE_NANO}
    ]


async def test_a_model_without_a_price_is_not_run(house: House):
    """An unknown price is a refusal, never zero; no retry can help."""
    del house.prices[PRICE.model]
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "price_unavailable")
    assert client.headers["x-should-retry"] == "false"
    assert house.engine.asked == []
    assert await house.usage() == []


async def test_a_price_that_the_ledger_does_not_know_is_none(house: House):
    """A gateway with a card of its own cannot charge by it."""
    house.prices[PRICE.model] = replace(PRICE, version=2)
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "price_unavailable")
    assert house.engine.asked == []
    assert await house.usage() == []


async def test_without_credit_the_engine_is_not_asked(tmp_path: Path):
    """A refusal that no retry can help says so, else OpenAI's SDK would send it three times."""
    async with running_house(tmp_path, grant_nano=COMPLETE_NANO) as house:  # the hold asks for all the output allowed
        client = await house.ask(question())
        assert (client.status, client.error["type"]) == (429, "insufficient_quota")
        assert client.headers["x-should-retry"] == "false"
        assert house.engine.asked == []
        assert await house.usage() == []


async def test_the_engine_gets_the_request_built_anew(house: House):
    """Our decisions, the replica's token and our request id; nothing of the caller's identity."""
    client = await house.ask(question(user="ann", metadata={"a": "b"}, temperature=0, max_tokens=9, **STREAM))
    (asked,), (headers,) = house.engine.asked, house.engine.headers
    assert asked.keys() == {"model", "messages", "max_tokens", "temperature", "stream", "stream_options"}
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("demo-qwen2-vl", 9, 0)
    assert headers["authorization"] == "Bearer engine-token"
    assert headers["x-request-id"].startswith(client.headers["x-vlm-request-id"])
    assert house.key not in str(headers)


async def test_many_requests_at_once_are_each_charged_once(house: House):
    """Forty questions, every third of them streamed: forty rows, and their sum."""
    house.engine.behaves = answers
    await asyncio.gather(*(house.ask(question(**(STREAM if i % 3 else {}))) for i in range(40)))
    rows = await house.usage()
    assert [row["charged_nano"] for row in rows] == [COMPLETE_NANO] * 40
    assert len({row["request_id"] for row in rows}) == 40


FIXED = {"temperature": 0}


async def until(met: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not met():  # noqa: ASYNC110  # nobody tells when a queue or a counter changes
            await asyncio.sleep(0)


@pytest.mark.parametrize("fields", [FIXED, FIXED | STREAM], ids=["whole", "stream"])
async def test_identical_requests_are_one_of_the_engine_and_each_is_charged(house: House, fields: dict[str, object]):
    """A hundred at once; every caller has an answer of its own name, and pays for it."""
    house.engine.behaves = pauses_after(1)
    asking = [house.begin(question(user=f"user-{i}", **fields))[1] for i in range(100)]
    await until(lambda: house.metrics.followers == 99)
    house.engine.resume(0)
    clients = await asyncio.gather(*asking)
    assert len(house.engine.asked) == 1
    answers = [client.events[-2] if "stream" in fields else client.json for client in clients]
    assert len({answer["id"] for answer in answers}) == 100
    assert all(a["id"] == f"chatcmpl-{c.headers['x-vlm-request-id']}" for a, c in zip(answers, clients, strict=True))
    rows = await house.usage()
    assert [row["charged_nano"] for row in rows] == [COMPLETE_NANO] * 100
    assert sum(row["replica_id"] is not None for row in rows) == 1  # the one slot, so the one share of the GPU's cost


@pytest.mark.parametrize("fields", [FIXED, FIXED | STREAM], ids=["whole", "stream"])
async def test_the_first_of_identical_requests_leaves_and_the_other_is_answered(
    house: House, fields: dict[str, object]
):
    """The slot is the other one's from then on, in the ledger, too."""
    house.engine.behaves = pauses_after(1)
    leaving, left = house.begin(question(**fields))
    await house.engine.was_asked(1)
    _, staying = house.begin(question(**fields))
    await until(lambda: house.metrics.followers == 1)
    leaving.leave()
    await left
    house.engine.resume(0)
    assert (await staying).status == 200
    assert len(house.engine.asked) == 1
    rows = {row["outcome"]: row for row in await house.usage()}
    assert rows[Outcome.COMPLETE]["charged_nano"] == COMPLETE_NANO
    assert rows[Outcome.COMPLETE]["replica_id"] == "replica-1"


@pytest.mark.parametrize(
    ("fields", "headers", "card", "may"),
    [
        ({"temperature": 0}, {}, CARD, True),
        ({"seed": 7, "temperature": 1}, {}, CARD, True),
        ({}, {}, CARD, False),
        ({"temperature": 0.1}, {}, CARD, False),
        ({"temperature": 0}, {"x-coalesce": "off"}, CARD, False),
        ({"temperature": 0}, {}, CARD.model_copy(update={"coalesce": False}), False),
    ],
)
def test_who_may_share_an_answer(fields: dict[str, object], headers: dict[str, str], card: ModelCard, may: bool):
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    exchange = Exchange({"method": "POST", "path": "/", "headers": pairs}, None, None)  # type: ignore[arg-type]  # unread
    assert may_share(exchange, parse(question(**fields)).request, card) == may


async def test_the_batch_tier_costs_half(house: House):
    """To the nano-dollar, and the answer says so."""
    by_image = replace(PRICE, version=2, text_token_nano=0, output_token_nano=0)
    await house.do(AddPrice(by_image))
    house.prices[PRICE.model] = by_image
    clients = [await house.ask(question(), x_tier=tier) for tier in ("default", "batch")]
    charged = [client.json["usage"]["cost_details"]["charged_nano"] for client in clients]
    assert charged == [by_image.unit_nano, by_image.unit_nano // 2]
    assert clients[1].json["usage"]["cost_details"]["unit_price_nano"] == by_image.batch_unit_nano
    assert [(row["tier"], row["charged_nano"]) for row in await house.usage()] == [
        ("default", charged[0]),
        ("batch", charged[1]),
    ]


async def test_an_unknown_tier_is_refused_by_name(house: House):
    client = await house.ask(question(), x_tier="flex")
    assert (client.status, client.error["param"]) == (400, "X-Tier")


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request runs, one waits, and there is room for no more."""
    monkeypatch.setattr(budget, "START_TOKENS", 1.0)
    monkeypatch.setattr(former, "WAITING_MIN", 0)
    monkeypatch.setattr(former, "WAITING_MAX", 1)


@pytest.mark.usefixtures("one_at_a_time")
async def test_what_finds_no_room_is_refused_before_its_hold(house: House):
    """A 503 with `Retry-After`; the others are answered."""
    house.engine.behaves = pauses_after(0)
    asking = [house.begin(question())[1]]
    await house.engine.was_asked(1)
    asking.append(house.begin(question())[1])
    await until(lambda: house.chat.forming.loads()[CARD.id].waiting_requests == 1)
    refused = await house.ask(question())
    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert 0 < int(refused.headers["retry-after"]) <= 120
    for number in range(2):
        house.engine.resume(number)
    assert [client.status for client in await asyncio.gather(*asking)] == [200, 200]
    assert len(house.metrics.waits_s) == 1
    assert await house.charges_nano() == [COMPLETE_NANO] * 2
    assert len(house.rows("SELECT request_id FROM hold")) == 2


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_client_that_leaves_the_queue_costs_the_engine_nothing(house: House):
    house.engine.behaves = pauses_after(0)
    _, first = house.begin(question())
    await house.engine.was_asked(1)
    leaving, left = house.begin(question())
    await until(lambda: house.chat.forming.loads()[CARD.id].waiting_requests == 1)
    leaving.leave()
    await left
    house.engine.resume(0)
    await first
    assert len(house.engine.asked) == 1
    assert {row["outcome"] for row in await house.usage()} == {Outcome.CLIENT_LEFT_EARLY, Outcome.COMPLETE}


def showing(data: bytes, part: str = "file") -> bytes:
    """The body of a request that shows a file."""
    content = {"file_data": data_url(data, "application/pdf")} if part == "file" else {"url": data_url(data)}
    return orjson.dumps({"model": "demo", "messages": [{"role": "user", "content": [{"type": part, part: content}]}]})


async def test_a_client_that_leaves_ends_the_work_on_its_media(house: House):
    """Before there is any hold."""
    leaving, left = house.begin(showing(exploding_pdf()))
    await until(lambda: bool(psutil.Process().children()))
    leaving.leave()
    await left
    assert psutil.Process().children() == []
    assert leaving.sent == []
    assert house.rows("SELECT request_id FROM hold") == []


async def test_media_are_made_ready_within_the_deadline(house: House):
    """Which is the client's own where its SDK tells it."""
    late = await house.ask(showing(exploding_pdf()), x_stainless_read_timeout="0.5")
    assert (late.status, late.error["code"]) == (503, "overloaded")
    assert psutil.Process().children() == []


async def test_work_on_media_that_nobody_pays_for_has_an_end(house: House, monkeypatch: pytest.MonkeyPatch):
    """Requests that are answered may show as much as they like."""
    monkeypatch.setattr(allowance, "SECONDS_MAX", 0.0)
    for _ in range(2):
        assert (await house.ask(showing(image(mode="RGBA"), "image_url"))).status == 200
    assert (await house.ask(showing(pdf()[:200]))).error["code"] == "image_parse_error"
    refused = await house.ask(showing(pdf()))
    assert (refused.status, refused.error["param"]) == (429, "media_seconds")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await house.ask(question())).status == 200  # nothing of it needs a process
