"""`/v1/batches`: what may be asked, and what is told. What comes of it: `tests/batches`."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import orjson
import pytest

from accounting.command import AddKey
from accounting.key import Scope, mint
from tests.gateway.client import Client
from tests.gateway.house import House
from tests.gateway.test_idempotency import served

NEW: dict[str, Any] = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.fixture
async def client(house: House) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        served(house) as port,
        openai.AsyncOpenAI(api_key=house.key, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client,
    ):
        yield client


@pytest.fixture
async def file_id(client: openai.AsyncOpenAI) -> str:
    return (await client.files.create(file=("a.jsonl", b"{}"), purpose="batch")).id


async def test_openais_client_begins_and_reads_and_cancels(client: openai.AsyncOpenAI, house: House, file_id: str):
    """No worker runs here, so nothing comes of it yet."""
    batch = await client.batches.create(input_file_id=file_id, metadata={"run": "7"}, **NEW)
    assert (batch.status, batch.input_file_id, batch.metadata) == ("validating", file_id, {"run": "7"})
    assert batch.created_at == house.clock.ms // 1000
    assert batch.expires_at == batch.created_at + 86_400
    assert await client.batches.retrieve(batch.id) == batch
    cancelling = await client.batches.cancel(batch.id)
    assert (cancelling.status, cancelling.cancelling_at) == ("cancelling", house.clock.ms // 1000)
    house.clock.ms += 5_000
    assert await client.batches.cancel(batch.id) == cancelling


async def test_openais_client_turns_pages(client: openai.AsyncOpenAI, house: House, file_id: str):
    """Newest first."""
    made = []
    for _ in range(5):
        house.clock.ms += 1
        made.append((await client.batches.create(input_file_id=file_id, **NEW)).id)
    assert [one.id async for one in client.batches.list(limit=2)] == made[::-1]


async def test_another_projects_batches_do_not_exist(client: openai.AsyncOpenAI, house: House, file_id: str):
    """Nor do its files, to make a batch of."""
    batch = await client.batches.create(input_file_id=file_id, **NEW)
    other, record = mint("org", "other", "other", (Scope.INFERENCE,))
    await house.do(AddKey(record))
    theirs = client.with_options(api_key=other)
    assert [one async for one in theirs.batches.list()] == []
    for use in (theirs.batches.retrieve, theirs.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            await use(batch.id)
    with pytest.raises(openai.NotFoundError) as refusal:
        await theirs.batches.create(input_file_id=file_id, **NEW)
    assert refusal.value.param == "input_file_id"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file-../../x"}, 404, "input_file_id"),
        ({"input_file_id": None}, 400, "input_file_id"),
        ({"metadata": {f"{i}": "" for i in range(17)}}, 400, "metadata"),
        ({"metadata": {"a": "x" * 513}}, 400, "metadata.a"),
        ({"priority": 1}, 400, "priority"),
    ],
)
async def test_what_is_wrong_is_named(house: House, file_id: str, fields: dict[str, Any], status: int, param: str):
    """Before anything is entered."""
    body = orjson.dumps({"input_file_id": file_id} | NEW | fields)
    client = await Client(body, house.key, "/v1/batches").ask(house.app)
    assert (client.status, client.error["param"]) == (status, param)
    assert (await Client(b"", house.key, "/v1/batches", "GET").ask(house.app)).json["data"] == []


async def test_a_batch_is_made_of_a_file_for_batches(client: openai.AsyncOpenAI):
    """Its lines were not checked for size otherwise."""
    file = await client.files.create(file=("a.jsonl", b"{}"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as refusal:
        await client.batches.create(input_file_id=file.id, **NEW)
    assert refusal.value.param == "input_file_id"
