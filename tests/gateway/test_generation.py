from dataclasses import replace
from typing import Any

import pytest

from accounting.command import AddKey, Attempt, Outcome, Post, Sample
from accounting.key import Scope, mint
from accounting.request import EndedAttempt, Generation, Units
from deployments.gateway.generation import SHARED_OUT_AFTER_MS, generation
from tests.accounting.examples import HOLD, TRIED
from tests.gateway.client import Client
from tests.gateway.house import CARD, NOW_MS, House, question

# At $3.60 an hour: 1,000 nano-dollars a millisecond.
SAMPLE = Sample(
    replica_id="replica-1", epoch="e1", model=CARD.served_name, at_ms=0, state="ready", rent_nano_per_hour=3_600_000_000
)
ATTEMPT = EndedAttempt(
    attempt=1,
    charged=True,
    record=Attempt(
        replica_id="replica-1",
        finish="stop",
        images=1,
        text_tokens=30,
        vision_tokens=16,
        cached_tokens=4,
        output_tokens=600,
        ttft_ms=40,
        latency_ms=90,
        slot_from_ms=1_010,
        slot_to_ms=1_100,
    ),
)
KNOWN = Generation(
    request_id="r1",
    attempt=1,
    gateway_id="gw_1",
    key_id="key_1",
    org_id="org",
    project_id="project",
    user_id=None,
    metadata=None,
    model="m",
    price_version=3,
    tier="default",
    units=Units(images=(3,), output=2),
    parts=("credit:org",),
    amount_nano=900,
    charged_nano=700,
    state="posted",
    why="complete",
    created_at_ms=1_000,
    first_byte_at_ms=None,
    expires_at_ms=61_000,
    closed_at_ms=1_100,
    attempts=(ATTEMPT,),
)


async def get(house: House, query: str, key: str | None = None) -> Client:
    return await Client(b"", key or house.key, f"/v1/generation{query}", "GET").ask(house.app)


async def test_a_request_is_known_afterwards(house: House):
    """By the id of its answer or of its header: the same counts and the same cost."""
    answer = await house.ask(question())
    request_id = answer.headers["x-vlm-request-id"]
    shown = (await get(house, f"?id={request_id}")).json
    assert shown == (await get(house, f"?id=chatcmpl-{request_id}")).json
    usage = answer.json["usage"]
    assert shown["usage"] == {name: usage[name] for name in shown["usage"]}
    for name in ("cost", "images", "units", "price_version"):
        assert shown[name] == usage[name]
    for name in ("charged_nano", "hold_nano"):
        assert shown["cost_details"][name] == usage["cost_details"][name]
    assert (shown["id"], shown["model"], shown["created"]) == (
        f"chatcmpl-{request_id}",
        CARD.served_name,
        NOW_MS // 1000,
    )
    assert (shown["state"], shown["outcome"], shown["finish_reason"]) == ("posted", "complete", "stop")


async def test_it_is_known_within_its_organisation_only(house: House):
    """To others, and under any other id, it is not there."""
    answer = await house.ask(question())
    theirs, record = mint("other", "project", "theirs", (Scope.INFERENCE, Scope.USAGE))
    mine, my_record = mint("org", "elsewhere", "mine", (Scope.USAGE,))
    await house.do(AddKey(record), AddKey(my_record))
    query = f"?id={answer.headers['x-vlm-request-id']}"
    assert (await get(house, query, mine)).status == 200
    assert (await get(house, query, theirs)).json == (await get(house, "?id=none")).json
    assert (await get(house, query, theirs)).status == 404


@pytest.mark.parametrize(("query", "param"), [("", "id"), ("?id=a&id=b", "id"), ("?id=a&verbose=1", "verbose")])
async def test_a_question_that_is_none_is_refused_by_field(house: House, query: str, param: str):
    """One id is asked for, and nothing else."""
    client = await get(house, query)
    assert (client.status, client.error["param"]) == (400, param)


async def test_a_stranger_learns_nothing(house: House):
    """401 before anything is looked up."""
    assert (await get(house, "?id=a", "sk-vlm-x")).status == 401


async def test_gpu_cost_is_told_when_it_is_settled(house: House):
    """Not before everything must have ended that ran beside it: 100 ms, of which half were another's."""
    for request_id, from_ms, to_ms in (("a", 0, 100), ("b", 50, 150)):
        record = replace(TRIED, replica_id="replica-1", slot_from_ms=NOW_MS + from_ms, slot_to_ms=NOW_MS + to_ms)
        hold = replace(HOLD, request_id=request_id, model=CARD.served_name, amount_nano=9)
        await house.do(
            hold, Post(request_id=request_id, attempt=1, charged_nano=9, outcome=Outcome.COMPLETE, record=record)
        )
    await house.do(*(replace(SAMPLE, at_ms=NOW_MS + ms) for ms in (-10_000, 0, 10_000)))
    house.clock.ms = NOW_MS + SHARED_OUT_AFTER_MS
    assert (await get(house, "?id=a")).json["gpu_cost"] is None
    house.clock.ms += 10_000  # the window's end
    shown = (await get(house, "?id=a")).json
    assert (shown["gpu_cost"], shown["cost_details"]["gpu_nano"]) == (0.000075, 75_000)  # 50 ms + 50 ms / 2


async def test_a_replica_that_nobody_saw_has_no_cost(house: House):
    """Unknown is not zero."""
    answer = await house.ask(question())
    house.clock.ms += 2 * SHARED_OUT_AFTER_MS
    assert (await get(house, f"?id={answer.headers['x-vlm-request-id']}")).json["gpu_cost"] is None


def test_an_attempt_is_told_with_its_times():
    """It waited 10 ms for its slot."""
    (shown,) = generation(KNOWN, None)["attempts"]
    assert shown == {
        "attempt": 1,
        "replica": "replica-1",
        "queue_ms": 10,
        "ttft_ms": 40,
        "total_ms": 90,
        "outcome": "complete",
        "charged": True,
    }


def test_units_are_those_that_were_used():
    """3 for the image, 1 for 88 tokens above 512; the hold was for 5."""
    assert generation(KNOWN, None)["units"] == 4


def test_what_accelerators_cost_is_beside_the_price():
    """Dollars for people, nano-dollars for programs."""
    shown = generation(KNOWN, 250)
    assert (shown["gpu_cost"], shown["cost_details"]) == (
        2.5e-07,
        {"charged_nano": 700, "hold_nano": 900, "gpu_nano": 250},
    )


@pytest.mark.parametrize(
    ("change", "cost", "usage_known"),
    [
        ({"state": "open", "charged_nano": None, "why": None, "attempts": ()}, None, False),
        ({"state": "void", "charged_nano": None, "why": "expired", "attempts": ()}, 0.0, False),
        ({"state": "void", "charged_nano": None, "why": "engine_failed"}, 0.0, True),
    ],
)
def test_a_cost_is_null_until_it_is_known(change: dict[str, Any], cost: float | None, usage_known: bool):
    """A request that runs has none yet; one that ended without a charge has 0."""
    shown = generation(replace(KNOWN, **change), None)
    assert (shown["cost"], shown["usage"] is not None) == (cost, usage_known)


def test_an_attempt_that_was_taken_over_says_so():
    """The last one has the request's own outcome."""
    known = replace(KNOWN, attempt=2, attempts=(replace(ATTEMPT, charged=False), replace(ATTEMPT, attempt=2)))
    assert [shown["outcome"] for shown in generation(known, None)["attempts"]] == ["taken_over", "complete"]
