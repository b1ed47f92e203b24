"""What a key may do: how much in a minute and at once, for how much money, with which models, and until when."""

import asyncio
from dataclasses import replace

import pytest

from accounting.budget import Period
from accounting.command import Outcome, Result, RotateKey, SetBudget
from accounting.key import Scope, mint
from accounting.limits import RateLimits
from tests.gateway.client import Client
from tests.gateway.engine_server import (
    TEXT_TOKENS,
    VISION_TOKENS,
    WORDS,
    Behaviour,
    answers,
    dies_after,
    pauses_after,
)
from tests.gateway.house import IMAGE_URL, NOW_MS, STREAM, House, charge_nano, question

COMPLETE_NANO = charge_nano(len(WORDS))
TOKENS_USED = VISION_TOKENS + TEXT_TOKENS + len(WORDS)
ROOMY = RateLimits(requests_per_minute=10, images_per_minute=20, tokens_per_minute=10_000)
# The tests' clock stands 40 s into a minute.
MINUTE_LEFT_MS = 60_000 - NOW_MS % 60_000
HOUR_MS = 3_600_000


def limit_headers(client: Client) -> dict[str, str]:
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in client.headers.items()
        if name.startswith("x-ratelimit-")
    }


async def tokens_max(house: House) -> int:
    """How many tokens a question may be at most, and so takes of the limit while it runs."""
    await house.change_key(limits=ROOMY)
    headers = limit_headers(await house.ask(question()))
    house.clock.ms += 60_000  # a minute of its own
    return ROOMY.tokens_per_minute - int(headers["remaining-tokens"])


@pytest.mark.parametrize("name", ["requests_per_minute", "images_per_minute"])
async def test_a_limit_of_a_minute_is_told_with_its_name_and_end(house: House, name: str):
    """OpenAI's SDKs wait for as long as they are told; then it is another minute."""
    await house.change_key(limits=RateLimits(**{name: 1}))
    assert (await house.ask(question())).status == 200
    refused = await house.ask(question())
    assert (refused.status, refused.error["type"]) == (429, "rate_limit_error")
    assert (refused.error["code"], refused.error["param"]) == ("rate_limit_exceeded", name)
    assert refused.headers["retry-after-ms"] == str(MINUTE_LEFT_MS)
    assert refused.headers["retry-after"] == str(MINUTE_LEFT_MS // 1000)
    assert "x-should-retry" not in refused.headers
    house.clock.ms += MINUTE_LEFT_MS
    assert (await house.ask(question())).status == 200
    assert house.metrics.outcomes == [Outcome.COMPLETE, Outcome.NOT_ADMITTED, Outcome.COMPLETE]
    assert await house.charges_nano() == [COMPLETE_NANO] * 2


async def test_a_request_of_more_images_than_a_minute_allows_is_refused(house: House):
    """Each image counts."""
    await house.change_key(limits=RateLimits(images_per_minute=1))
    image = {"type": "image_url", "image_url": {"url": IMAGE_URL}}
    client = await house.ask(question(messages=[{"role": "user", "content": [image, image]}]))
    assert (client.status, client.error["param"]) == (429, "images_per_minute")
    assert (await house.ask(question())).status == 200


async def test_tokens_are_taken_as_a_request_may_use_them(house: House):
    """Images, text and output: two requests that together could be too much do not run together."""
    most = await tokens_max(house)
    await house.change_key(limits=RateLimits(tokens_per_minute=2 * most - 1))
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question())
    await house.engine.was_asked(2)
    refused = await house.ask(question())
    assert (refused.status, refused.error["param"]) == (429, "tokens_per_minute")
    house.engine.resume(1)
    await asking


@pytest.mark.parametrize(
    ("behaves", "used"), [(answers, TOKENS_USED), (dies_after(0), VISION_TOKENS)], ids=["used", "failed"]
)
async def test_tokens_that_were_not_used_come_back(house: House, behaves: Behaviour, used: int):
    """So the limit is on what was done, not on what was asked for; images count as soon as they are read."""
    most = await tokens_max(house)
    await house.change_key(limits=RateLimits(tokens_per_minute=used + most))
    house.engine.behaves = behaves
    await house.ask(question())
    house.engine.behaves = answers
    client = await house.ask(question())
    assert client.status == 200
    assert limit_headers(client)["remaining-tokens"] == "0"


@pytest.mark.parametrize("is_left", [False, True])
async def test_only_so_many_requests_run_at_once(house: House, is_left: bool):
    """The next one may come as soon as one has ended, however it did."""
    await house.change_key(limits=RateLimits(concurrency=1))
    house.engine.behaves = pauses_after(0)
    client, asking = house.begin(question())
    await house.engine.was_asked(1)
    refused = await house.ask(question())
    assert (refused.status, refused.error["param"]) == (429, "concurrency")
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("1", "1000")
    if is_left:
        client.leave()
    else:
        house.engine.resume(0)
    await asking
    house.engine.behaves = answers
    assert (await house.ask(question())).status == 200


@pytest.mark.parametrize("fields", [{}, STREAM], ids=["whole", "stream"])
async def test_every_answer_says_what_is_left(house: House, fields: dict[str, object]):
    """Images beside OpenAI's requests and tokens."""
    most = await tokens_max(house)
    client = await house.ask(question(**fields))
    assert limit_headers(client) == {
        "limit-requests": "10",
        "remaining-requests": "9",
        "reset-requests": "20s",
        "limit-images": "20",
        "remaining-images": "19",
        "reset-images": "20s",
        "limit-tokens": "10000",
        "remaining-tokens": str(10_000 - most),
        "reset-tokens": "20s",
    }


async def test_a_key_without_limits_is_told_none(house: House):
    """There is nothing to be left of."""
    assert limit_headers(await house.ask(question())) == {}


async def test_a_refused_request_takes_nothing(house: House):
    """Neither of the limits that had room, nor of any money."""
    await house.change_key(limits=RateLimits(requests_per_minute=2, concurrency=1))
    house.engine.behaves = pauses_after(0)
    _, asking = house.begin(question())
    await house.engine.was_asked(1)
    assert (await house.ask(question())).error["param"] == "concurrency"
    house.engine.resume(0)
    await asking
    house.engine.behaves = answers
    assert limit_headers(await house.ask(question()))["remaining-requests"] == "0"
    assert await house.charges_nano() == [COMPLETE_NANO] * 2


async def test_a_key_uses_the_models_on_its_list(house: House):
    """And no others."""
    await house.change_key(models=("another-model",))
    client = await house.ask(question())
    assert (client.status, client.error["type"]) == (403, "permission_error")
    assert (client.error["code"], client.error["param"]) == ("model_not_allowed", "model")
    assert house.engine.asked == []
    await house.change_key(models=("another-model", "demo-qwen2-vl"))
    assert (await house.ask(question())).status == 200


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("key", "key_spend_limit_exceeded"),
        ("project", "project_spend_limit_exceeded"),
        ("org", "organization_spend_limit_exceeded"),
    ],
)
@pytest.mark.parametrize("period", Period)
async def test_a_budget_that_is_spent_is_told_by_its_owner(house: House, kind: str, code: str, period: Period):
    """No retry can help, so OpenAI's SDKs are told not to try."""
    hold_nano = int((await house.ask(question())).headers["x-vlm-hold-nanousd"])
    scope = {"key": f"key:{house.record.id}", "project": "project:org/project", "org": "org:org"}[kind]
    assert await house.do(SetBudget(scope=scope, period=period, limit_nano=hold_nano)) == [Result.CREATED]
    assert (await house.ask(question())).status == 200
    refused = await house.ask(question())
    assert (refused.status, refused.error["type"]) == (429, "insufficient_quota")
    assert (refused.error["code"], refused.headers["x-should-retry"]) == (code, "false")
    assert "retry-after" not in refused.headers
    assert len(house.engine.asked) == 2
    assert await house.charges_nano() == [COMPLETE_NANO] * 2


async def test_a_budget_is_never_overspent(house: House):
    """Of twenty requests at once, as many run as the budget can hold for."""
    hold_nano = int((await house.ask(question())).headers["x-vlm-hold-nanousd"])
    await house.do(SetBudget(scope="org:org", period=Period.DAY, limit_nano=5 * hold_nano))
    house.engine.behaves = pauses_after(0)
    begun = [house.begin(question()) for _ in range(20)]
    await house.engine.was_asked(6)
    for i in range(1, 6):
        house.engine.resume(i)
    statuses = [(await asking).status for _, asking in begun]
    assert sorted(statuses) == [200] * 5 + [429] * 15
    assert await house.charges_nano() == [COMPLETE_NANO] * 6


async def test_a_new_day_has_a_budget_of_its_own(house: House):
    """Nothing is reset: it is another account."""
    hold_nano = int((await house.ask(question())).headers["x-vlm-hold-nanousd"])
    await house.do(SetBudget(scope="org:org", period=Period.DAY, limit_nano=hold_nano))
    await house.ask(question())
    assert (await house.ask(question())).status == 429
    house.clock.ms += 24 * HOUR_MS
    assert (await house.ask(question())).status == 200


async def rotated(house: House, grace_ms: int) -> str:
    """Rotate the house's key. Returns the new one."""
    new, record = mint("org", "project", "new", (Scope.INFERENCE,))
    record = replace(record, root_id=house.record.root, limits=house.record.limits)
    assert await house.do(RotateKey(key_id=house.record.id, successor=record, grace_ms=grace_ms)) == [Result.CREATED]
    return new


async def test_a_rotated_key_works_until_its_grace_ends(house: House):
    """Then it is as unknown as any; its successor works from the first moment."""
    new = await rotated(house, HOUR_MS)
    house.clock.ms += HOUR_MS - 1
    assert (await house.ask(question())).status == 200
    assert (await Client(question(), new).ask(house.app)).status == 200
    house.clock.ms += 1
    refused = await house.ask(question())
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
    assert (await Client(question(), new).ask(house.app)).status == 200


async def test_a_rotated_key_and_its_successor_share_limits_and_budgets(house: House):
    """A rotation is no way to twice as much."""
    await house.change_key(limits=RateLimits(requests_per_minute=2))
    await house.do(SetBudget(scope=f"key:{house.record.id}", period=Period.LIFETIME, limit_nano=10**6))
    new = await rotated(house, HOUR_MS)
    assert (await house.ask(question())).status == 200
    assert (await Client(question(), new).ask(house.app)).status == 200
    assert (await house.ask(question())).status == (await Client(question(), new).ask(house.app)).status == 429
    (account,) = house.rows("SELECT posted_nano FROM account WHERE kind = 'budget'")
    assert account["posted_nano"] == 2 * COMPLETE_NANO


@pytest.mark.parametrize("fields", [{"expires_at_ms": NOW_MS}, {"revoked_at_ms": NOW_MS}], ids=["expired", "revoked"])
async def test_a_key_that_does_not_work_any_more_is_unknown(house: House, fields: dict[str, int]):
    """The same 401 as for a key that never was."""
    await house.change_key(**fields)
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (401, "invalid_api_key")
    assert house.engine.asked == []


async def test_a_key_is_counted_before_its_body_is_read(house: House):
    """Twice its concurrency and four bodies that never end; the next is refused, and another tenant is not."""
    await house.change_key(limits=RateLimits(concurrency=1))
    endless = [Client(b"", house.key) for _ in range(6)]
    for client in endless:
        client.sends_for_ever(b'{"model":')
    waiting = [asyncio.create_task(client.ask(house.app)) for client in endless]
    await asyncio.sleep(0)
    refused = await house.ask(question())
    assert (refused.status, refused.error["param"]) == (429, "concurrency")
    for client in endless:
        client.leave()
    await asyncio.gather(*waiting)
    assert (await house.ask(question())).status == 200
