import re
from dataclasses import replace
from typing import Any

import pytest

from accounting.key import KeyRecord
from accounting.limits import RateLimits
from deployments.gateway.admin.keys import key_object, key_state
from tests.gateway.admin.operator import call, done, told
from tests.gateway.client import Client
from tests.gateway.house import NOW_MS, House, question

NOW_S = NOW_MS // 1000
RECORD = KeyRecord(id="key_1", sha256="hash", org_id="org", project_id="project", name="laptop", scopes=("inference",))


async def ask(house: House, key: str) -> int:
    """The status of a question with this key."""
    return (await Client(question(), key).ask(house.app)).status


async def test_a_key_is_made_with_defaults(house: House):
    """Of the caller's organisation, to use every model and see its usage."""
    made = await done(house, "POST", "/keys", name="laptop")
    assert re.fullmatch(r"sk-vlm-\w{12}-\w{48}", made.pop("key"))
    assert re.fullmatch(r"key_\w{12}", made["id"])
    assert made == {
        "object": "key",
        "id": made["id"],
        "name": "laptop",
        "state": "working",
        "org": "org",
        "project": "default",
        "scopes": ["inference", "usage:read"],
        "models": [],
        "limits": {},
        "created_at": NOW_S,
        "expires_at": None,
        "revoked_at": None,
        "rotated_to": None,
        "root": made["id"],
    }


async def test_a_key_is_made_as_asked_for(house: House):
    """Models are known by any of their names."""
    asked = {"org": "acme", "project": "web", "scopes": ["inference"], "expires_at": NOW_S + 60}
    limits = {"images_per_minute": 5, "concurrency": 2}
    made = await done(house, "POST", "/keys", name="x", models=["demo"], limits=limits, **asked)
    assert asked.items() <= made.items()
    assert (made["models"], made["limits"]) == (["demo-qwen2-vl"], limits)


async def test_a_new_key_works_at_once(house: House):
    """In the gateway that made it, and with the free credit that came with it."""
    made = await done(house, "POST", "/keys", name="x", org="acme", credit_usd="0.50")
    assert await ask(house, made["key"]) == 200
    (credit,) = house.rows("SELECT posted_nano FROM account WHERE id = 'credit:acme'")
    assert -500_000_000 < credit["posted_nano"] < 0


async def test_a_key_is_shown_once(house: House):
    """Neither it nor its hash is in any other answer."""
    made = await done(house, "POST", "/keys", name="x")
    for path in ("/keys", f"/keys/{made['id']}", "/audit"):
        text = (await call(house, "GET", path)).body.decode()
        assert made["id"] in text
        assert made["key"].rpartition("-")[2] not in text
        assert "sha256" not in text


async def test_a_ref_makes_one_key(house: House):
    """Its free credit is given once, and the repeat says what became of the first."""
    made = await done(house, "POST", "/keys", name="x", org="acme", credit_usd="1", ref="signup-7")
    again = await call(house, "POST", "/keys", name="x", org="acme", credit_usd="1", ref="signup-7")
    assert told(again) == (409, "ref")
    assert [key["id"] for key in (await done(house, "GET", "/keys"))["data"]].count(made["id"]) == 1
    assert house.rows("SELECT posted_nano FROM account WHERE id = 'credit:acme'") == [{"posted_nano": -(10**9)}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "x", "scopes": ["manage", "inference"]}, "scopes"),
        ({"name": "x", "models": ["gpt-5"]}, "models[0]"),
        ({"name": "x", "org": "a:b"}, "org"),
        ({"name": "x", "project": "a/b"}, "project"),
        ({"name": "x", "limits": {"images_per_hour": 1}}, "limits.images_per_hour"),
        ({"name": "x", "limits": {"images_per_minute": 0}}, "limits.images_per_minute"),
        ({"name": "x", "limits": {"concurrency": "2"}}, "limits.concurrency"),
        ({"name": "x", "expires_at": NOW_S}, "expires_at"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "credit_usd": 1.5}, "credit_usd"),
        ({"name": "x", "credit_usd": "-1"}, "credit_usd"),
        ({"name": "x", "credit_usd": "0"}, "credit_usd"),
        ({"name": "x", "credit_usd": "0.0000000001"}, "credit_usd"),
        ({"name": "x", "credit_usd": "1", "currency": "eur"}, "currency"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_field(house: House, fields: dict[str, Any], param: str):
    """And nothing is made."""
    assert told(await call(house, "POST", "/keys", **fields)) == (400, param)
    assert len((await done(house, "GET", "/keys"))["data"]) == 2


async def test_a_change_is_of_what_was_sent(house: House):
    """Limits too, one by one; null takes one away."""
    made = await done(house, "POST", "/keys", name="x", limits={"images_per_minute": 5, "concurrency": 2})
    path = f"/keys/{made['id']}"
    changed = await done(house, "PATCH", path, limits={"images_per_minute": 9, "concurrency": None})
    assert changed["limits"] == {"images_per_minute": 9}
    assert changed["name"] == "x"
    changed = await done(house, "PATCH", path, name="y", expires_at=NOW_S + 60)
    assert (changed["name"], changed["expires_at"]) == ("y", NOW_S + 60)
    assert (await done(house, "PATCH", path, expires_at=None))["expires_at"] is None


async def test_a_revoked_key_stops_at_once(house: House):
    """For good, and as often as one likes."""
    made = await done(house, "POST", "/keys", name="x")
    path = f"/keys/{made['id']}"
    for _ in range(2):
        assert (await done(house, "DELETE", path))["state"] == "revoked"
    assert await ask(house, made["key"]) == 401
    assert (await call(house, "PATCH", path, name="y")).status == 409
    assert (await call(house, "POST", f"{path}/rotate")).status == 409


async def test_a_rotated_key_works_through_its_grace(house: House):
    """Its successor has the same limits and pays from the same budgets."""
    made = await done(house, "POST", "/keys", name="x", limits={"concurrency": 2})
    successor = await done(house, "POST", f"/keys/{made['id']}/rotate", grace_seconds=60)
    assert (successor["limits"], successor["root"]) == ({"concurrency": 2}, made["id"])
    old = await done(house, "GET", f"/keys/{made['id']}")
    assert (old["state"], old["rotated_to"], old["expires_at"]) == ("rotated", successor["id"], NOW_S + 60)
    assert await ask(house, made["key"]) == await ask(house, successor["key"]) == 200
    house.clock.ms += 60_000
    assert (await ask(house, made["key"]), await ask(house, successor["key"])) == (401, 200)


async def test_a_grace_may_be_none(house: House):
    """The old key stops at once."""
    made = await done(house, "POST", "/keys", name="x")
    await done(house, "POST", f"/keys/{made['id']}/rotate", grace_seconds=0)
    assert await ask(house, made["key"]) == 401


async def test_a_key_is_rotated_once(house: House):
    """Its successor is the one to go on with."""
    made = await done(house, "POST", "/keys", name="x")
    await done(house, "POST", f"/keys/{made['id']}/rotate")
    assert (await call(house, "POST", f"/keys/{made['id']}/rotate")).status == 409
    assert (await call(house, "PATCH", f"/keys/{made['id']}", name="y")).status == 409


async def test_an_expired_key_is_not_rotated(house: House):
    """It may be given more time instead."""
    made = await done(house, "POST", "/keys", name="x", expires_at=NOW_S + 1)
    house.clock.ms += 1_000
    refused = await call(house, "POST", f"/keys/{made['id']}/rotate")
    assert (refused.status, "expired" in refused.error["message"]) == (409, True)
    await done(house, "PATCH", f"/keys/{made['id']}", expires_at=NOW_S + 60)
    await done(house, "POST", f"/keys/{made['id']}/rotate")


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")])
async def test_an_unknown_key_is_not_there(house: House, method: str, suffix: str):
    """404, and nothing of what was sent."""
    client = await call(house, method, f"/keys/key_secret{suffix}")
    assert client.status == 404
    assert b"key_secret" not in client.body


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "working"),
        ({"expires_at_ms": 101}, "working"),
        ({"expires_at_ms": 100}, "expired"),
        ({"expires_at_ms": 101, "rotated_to": "key_2"}, "rotated"),
        ({"expires_at_ms": 100, "rotated_to": "key_2"}, "expired"),
        ({"expires_at_ms": 100, "revoked_at_ms": 5}, "revoked"),
    ],
)
def test_the_state_of_a_key_is_one_word(fields: dict[str, Any], state: str):
    """At 100 ms."""
    assert key_state(replace(RECORD, **fields), 100) == state


def test_an_object_has_seconds():
    """As everywhere in OpenAI's API."""
    record = replace(RECORD, created_at_ms=1_999, limits=RateLimits(concurrency=3), root_id="key_0")
    shown = key_object(record, 0)
    assert (shown["created_at"], shown["limits"], shown["root"]) == (1, {"concurrency": 3}, "key_0")
