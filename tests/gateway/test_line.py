"""A line of a batch as a request of the key that made the batch."""

import asyncio

import orjson
import pytest

from accounting.command import Outcome
from deployments.batches.line import Answered
from deployments.gateway.line import LINE
from tests.gateway.engine_server import WORDS, pauses_after
from tests.gateway.house import House, charge_nano, question


async def run(house: House, name: str = "name", body: bytes = b"") -> Answered:
    return await house.app.run_line(house.record.id, name, body or question())


async def test_a_line_is_answered_as_a_request_is(house: House):
    """With the same headers, in the tier of batches."""
    answered = await run(house)
    assert answered.status == 200
    assert orjson.loads(answered.body)["choices"][0]["message"]["content"] == "".join(WORDS)
    (row,) = await house.usage()
    assert (row["request_id"], row["tier"]) == (answered.headers["x-vlm-request-id"], "batch")
    assert row["charged_nano"] == charge_nano(len(WORDS)) - 5_000


async def test_a_line_that_is_run_again_is_answered_from_what_is_stored(house: House):
    """Charged once, whatever happens."""
    first, second = [await run(house) for _ in range(2)]
    assert second.body == first.body
    assert second.headers["x-idempotent-replay"] == "true"
    assert len(house.engine.asked) == 1
    assert len(await house.charges_nano()) == 1


async def test_a_line_that_still_runs_is_not_run_twice(house: House):
    """Its worker may have been another, and dead by now."""
    house.engine.behaves = pauses_after(0)
    running = asyncio.create_task(run(house))
    await house.engine.was_asked(1)
    assert (await run(house)).status == 409
    house.engine.resume(0)
    assert (await running).status == 200


async def test_a_worker_that_hangs_up_ends_its_line_free(house: House):
    """Serve cancels the call; the line can be run again."""
    house.engine.behaves = pauses_after(0)
    running = asyncio.create_task(run(house))
    await house.engine.was_asked(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert house.metrics.outcomes == [Outcome.CLIENT_LEFT_EARLY]
    assert await house.charges_nano() == []


async def test_no_client_can_name_a_line(house: House):
    """A header is Latin-1: what it can spell is not what a line is called."""
    await run(house)
    for name in ("name", LINE.encode().decode("latin-1") + "name"):
        client = await house.ask(question(), idempotency_key=name)
        assert client.status == 200
        assert "x-idempotent-replay" not in client.headers


async def test_a_refusal_is_an_answer(house: House):
    """In the same words."""
    answered = await run(house, body=b"{}")
    assert (answered.status, orjson.loads(answered.body)["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("fields", [{"revoked_at_ms": 1}, {"expires_at_ms": 1}, {"scopes": ("usage:read",)}])
async def test_a_line_needs_its_key(house: House, fields: dict[str, object]):
    """One that works, and may infer, at this moment."""
    await house.change_key(**fields)
    assert (await run(house)).status in (401, 403)
    assert house.engine.asked == []


async def test_a_key_that_never_was_runs_nothing(house: House):
    """A worker cannot make one up."""
    assert (await house.app.run_line("key_of_nobody", "name", question())).status == 401
