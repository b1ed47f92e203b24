import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import uvicorn

from accounting import wire
from accounting.command import AddKey
from accounting.key import Scope, mint
from accounting.usage import Bucket, Width
from deployments.gateway import usage as usage_module
from deployments.gateway.errors import BadRequest
from deployments.gateway.usage import (
    COMPLETIONS,
    COSTS,
    OTHERS,
    CompletionsQuery,
    Limit,
    Span,
    completions_result,
    costs_result,
    page,
    span_of,
)
from deployments.gateway.usage_mark import Mark
from tests.gateway.client import Client
from tests.gateway.engine_server import TEXT_TOKENS, WORDS
from tests.gateway.house import CARD, House, question

MINUTE_MS, DAY_MS = 60_000, 86_400_000
MINUTE_S, DAY_S = 60, 86_400
BUCKET = Bucket(
    start_ms=0,
    group=(),
    requests=2,
    images=3,
    units=4,
    text_tokens=50,
    vision_tokens=600,
    cached_tokens=70,
    output_tokens=8,
    revenue_nano=9,
)


async def get(house: House, path: str, key: str | None = None) -> Client:
    return await Client(b"", key or house.admin_key, f"/v1/organization/{path}", "GET").ask(house.app)


async def results(house: House, path: str, key: str | None = None) -> list[dict[str, Any]]:
    """Of every bucket of a page."""
    client = await get(house, path, key)
    assert client.status == 200, client.json
    return [result for bucket in client.json["data"] for result in bucket["results"]]


@asynccontextmanager
async def openai_client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, over a real server."""
    listening = socket.create_server(("127.0.0.1", 0))  # so it need not be waited for
    server = uvicorn.Server(uvicorn.Config(house.app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    host, port = listening.getsockname()
    async with openai.AsyncOpenAI(
        base_url=f"http://{host}:{port}/v1", api_key=house.key, admin_api_key=house.admin_key, max_retries=0
    ) as client:
        yield client
    server.should_exit = True
    await serving


async def test_the_openai_client_reads_usage(house: House):
    """Typed, grouped and page by page."""
    await house.ask(question(user="ann"))
    house.clock.ms += 2 * MINUTE_MS
    await house.ask(question())
    async with openai_client(house) as client:
        usage = client.admin.organization.usage
        first = await usage.completions(
            start_time=960, bucket_width="1m", group_by=["model", "user_id", "batch"], models=["demo"], limit=2
        )
        second = await usage.completions(start_time=960, bucket_width="1m", limit=2, page=first.next_page or "")
    (ann,) = first.data[0].results
    assert ann.object == "organization.usage.completions.result"
    assert (ann.model, ann.user_id, ann.batch, ann.project_id) == (CARD.served_name, "ann", False, None)
    assert (ann.num_model_requests, ann.input_text_tokens, ann.output_tokens) == (1, TEXT_TOKENS, len(WORDS))
    assert (first.data[1].results, first.has_more) == ([], True)
    assert [bucket.start_time for bucket in (*first.data, *second.data)] == [960, 1020, 1080]
    assert (len(second.data[0].results), second.has_more, second.next_page) == (1, False, None)


async def test_a_page_has_an_end_within_a_bucket_too(house: House, monkeypatch: pytest.MonkeyPatch):
    """Of many users, say: the next page goes on with the same bucket."""
    monkeypatch.setattr(wire, "PAGE_ROWS_MAX", 2)
    monkeypatch.setattr(usage_module, "RESULTS_MAX", 2)
    for user in ("ann", "bob", "eve"):
        await house.ask(question(user=user))
    asked: dict[str, Any] = {"start_time": 960, "bucket_width": "1m", "limit": 1, "group_by": ["user_id"]}
    async with openai_client(house) as client:
        usage = client.admin.organization.usage
        first = await usage.completions(**asked)
        second = await usage.completions(**asked, page=first.next_page or "")
    assert [result.user_id for result in first.data[0].results] == ["ann", "bob"]
    assert [result.user_id for result in second.data[0].results] == ["eve"]
    assert [page.data[0].start_time for page in (first, second)] == [960, 960]
    assert (first.has_more, second.has_more) == (True, False)


async def test_the_openai_client_reads_costs(house: House):
    """Typed; what was charged, to the nano-dollar."""
    cost_nano = house.charged_nano(await house.ask(question()))
    async with openai_client(house) as client:
        (bucket,) = (await client.admin.organization.usage.costs(start_time=0, group_by=["line_item"])).data
    (cost,) = bucket.results
    assert cost.object == "organization.costs.result"
    assert (cost.line_item, cost.quantity, cost.quantity_unit) == (f"{CARD.served_name}, default", 1, "images")
    assert cost.amount
    assert cost_nano
    assert (cost.amount.value, cost.amount.currency) == (cost_nano / 10**9, "usd")
    assert cost.amount.model_extra == {"value_nano": cost_nano}


@pytest.mark.parametrize("kind", OTHERS)
async def test_the_openai_client_finds_nothing_of_other_kinds(house: House, kind: str):
    """One that walks all of them does not break."""
    async with openai_client(house) as client:
        found = await getattr(client.admin.organization.usage, kind)(start_time=0)
    assert (found.data, found.has_more) == ([], False)


async def test_a_key_sees_its_own_organisation(house: House):
    """One that manages sees all of them."""
    await house.ask(question())
    mine, my_record = mint("org", "other", "mine", (Scope.USAGE,))
    theirs, their_record = mint("other", "project", "theirs", (Scope.USAGE,))
    await house.do(AddKey(my_record), AddKey(their_record))
    for path in ("usage/completions?start_time=0", "costs?start_time=0"):
        assert len(await results(house, path, mine)) == 1
        assert await results(house, path, theirs) == []
        assert len(await results(house, path)) == 1
    (found,) = await results(house, "costs?start_time=0&group_by=org_id")
    assert found["org_id"] == "org"


@pytest.mark.parametrize("path", ["usage/completions?start_time=0", "usage/images", "costs?start_time=0"])
async def test_usage_asks_for_a_scope(house: House, path: str):
    """A key that only infers has not got it."""
    client = await get(house, path, house.key)
    assert (client.status, client.error["code"]) == (403, "scope_not_allowed")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("models=demo", True),
        ("models[]=gpt-5&models[]=demo-qwen2-vl", True),
        ("models=gpt-5", False),
        ("project_ids=project", True),
        ("project_ids=other", False),
        ("user_ids=ann", True),
        ("user_ids=bob", False),
        ("api_key_ids=key_x", False),
        ("end_time=1", True),  # whole buckets: that of the day
        ("start_time=86400", False),
    ],
)
async def test_usage_is_filtered(house: House, query: str, found: bool):
    """A model that is served no more is known by the name it had."""
    await house.ask(question(user="ann"))
    start = "" if "start_time" in query else "start_time=0&"
    assert bool(await results(house, f"usage/completions?{start}{query}")) is found


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("usage/completions", "start_time"),
        ("usage/completions?start_time=noon", "start_time"),
        ("usage/completions?start_time=-1", "start_time"),
        ("usage/completions?start_time=1&end_time=1", "end_time"),
        ("usage/completions?start_time=0&bucket_width=1w", "bucket_width"),
        ("usage/completions?start_time=0&group_by=line_item", "group_by"),
        ("usage/completions?start_time=0&group_by[]=model&group_by[]=colour", "group_by[1]"),
        ("usage/completions?start_time=0&limit=0", "limit"),
        ("usage/completions?start_time=0&limit=32", "limit"),
        ("usage/completions?start_time=0&page=abc", "page"),
        ("usage/completions?start_time=0&page=0.WyJhbm4iXQ==", "page"),
        ("usage/completions?start_time=0&model=demo", "model"),
        ("costs?start_time=0&bucket_width=1h", "bucket_width"),
        ("costs?start_time=0&group_by=model", "group_by"),
        ("costs?start_time=0&limit=181", "limit"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused_by_field(house: House, path: str, param: str):
    """What is unknown, missing or out of bounds."""
    client = await get(house, path)
    assert (client.status, client.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("query", "now_ms", "span"),
    [
        # A day that has begun is a bucket.
        ({"start_time": 0}, 0, (0, 1, None)),
        ({"start_time": 0}, DAY_MS - 1, (0, 1, None)),
        ({"start_time": 0}, DAY_MS, (0, 2, None)),
        # The first bucket contains the start; the end is exclusive.
        ({"start_time": DAY_S + 5}, 9 * DAY_MS, (1, 8, 8)),
        ({"start_time": 0, "end_time": 2 * DAY_S}, 9 * DAY_MS, (0, 2, None)),
        ({"start_time": 0, "end_time": 2 * DAY_S + 1}, 9 * DAY_MS, (0, 3, None)),
        # Seven days are a page; the next begins where it ends, and none is empty for lack of time.
        ({"start_time": 0}, 7 * DAY_MS - 1, (0, 7, None)),
        ({"start_time": 0}, 7 * DAY_MS, (0, 7, 7)),
        ({"start_time": 0, "page": str(7 * DAY_S)}, 7 * DAY_MS, (7, 8, None)),
        ({"start_time": 0, "limit": 31}, 31 * DAY_MS, (0, 31, 31)),
        # Nothing has happened yet after now.
        ({"start_time": 3 * DAY_S}, DAY_MS, (3, 3, None)),
        ({"start_time": 0, "end_time": 99 * DAY_S}, DAY_MS, (0, 2, None)),
    ],
)
def test_a_span_has_the_buckets_that_were_asked_for(
    query: dict[str, Any], now_ms: int, span: tuple[int, int, int | None]
):
    """In days: first, end, next page."""
    from_day, to_day, next_day = span
    following = None if next_day is None else Mark(next_day * DAY_S)
    made = span_of(CompletionsQuery(**query), COMPLETIONS.limits, now_ms)
    assert made == Span(Width.DAY, from_day * DAY_MS, to_day * DAY_MS, following)


@pytest.mark.parametrize(
    ("limits", "width", "default", "most"),
    [
        (COMPLETIONS.limits, Width.DAY, 7, 31),
        (COMPLETIONS.limits, Width.HOUR, 24, 168),
        (COMPLETIONS.limits, Width.MINUTE, 60, 1440),
        (COSTS.limits, Width.DAY, 7, 180),
    ],
)
def test_pages_are_as_long_as_openai_s(limits: dict[Width, Limit], width: Width, default: int, most: int):
    """By default and at most."""

    def buckets(limit: int | None) -> int:
        query = CompletionsQuery(start_time=0, bucket_width=width, limit=limit)
        span = span_of(query, limits, 1000 * DAY_MS)
        return (span.to_ms - span.from_ms) // width.ms

    assert (buckets(None), buckets(most)) == (default, most)
    with pytest.raises(BadRequest, match=f"at most {most}"):
        buckets(most + 1)


def test_a_page_has_empty_buckets_too():
    """As OpenAI's does."""
    shown = page(Span(Width.MINUTE, 0, 2 * MINUTE_MS, Mark(120)), {MINUTE_MS: [{"object": "x"}]})
    assert shown == {
        "object": "page",
        "data": [
            {"object": "bucket", "start_time": 0, "end_time": 60, "results": []},
            {"object": "bucket", "start_time": 60, "end_time": 120, "results": [{"object": "x"}]},
        ],
        "has_more": True,
        "next_page": "120",
    }


def test_tokens_add_up():
    """text + vision = input = cached + uncached."""
    shown = completions_result(BUCKET)
    assert (shown["input_tokens"], shown["input_image_tokens"], shown["input_text_tokens"]) == (650, 600, 50)
    assert (shown["input_cached_tokens"], shown["input_uncached_tokens"]) == (70, 580)
    assert (shown["num_model_requests"], shown["output_tokens"], shown["images"], shown["units"]) == (2, 8, 3, 4)


def test_an_amount_is_a_number_of_dollars_and_exact():
    """OpenAI's float, and our integer beside it."""
    assert costs_result(BUCKET)["amount"] == {"value": 9e-09, "currency": "usd", "value_nano": 9}
