from typing import Any

import pytest

from accounting.budget import Budget, BudgetState, Period
from accounting.command import AddKey
from accounting.key import Scope, mint
from accounting.money import usd
from deployments.gateway.admin.budgets import budget_object
from tests.gateway.admin.operator import call, done, told
from tests.gateway.client import Client
from tests.gateway.house import House, question


async def test_a_budget_is_set_and_read(house: House):
    """By scope and period; what is in use comes from the row that enforces it."""
    path = "/budgets/org:org/month"
    made = await done(house, "PUT", path, limit_usd="10.50", alert_usd="8")
    assert made == await done(house, "GET", path)
    assert made == {
        "object": "budget",
        "scope": "org:org",
        "shared": False,
        "period": "month",
        "account": "bud:org:org:1970-01",
        "limit_usd": "10.5",
        "alert_usd": "8",
        "enforced_usd": "10.5",
        "posted_usd": "0",
        "reserved_usd": "0",
        "remaining_usd": "10.5",
        "alerted_at": None,
    }
    assert (await done(house, "GET", "/budgets"))["data"] == [made]


async def test_a_budget_shows_what_it_bounds(house: House):
    """Spent to its end, it refuses; the same row says both."""
    path = f"/budgets/key:{house.record.id}/lifetime"
    await done(house, "PUT", path, limit_usd="0.0001", alert_usd="0.00001")
    cost = house.charged_nano(await house.ask(question()))
    shown = await done(house, "GET", path)
    assert shown["posted_usd"] == usd(cost)
    assert shown["alerted_at"] is not None
    await done(house, "PUT", path, limit_usd="0.00001")
    refused = await house.ask(question())
    assert (refused.status, refused.error["code"]) == (429, "key_spend_limit_exceeded")


async def test_a_key_is_bounded_by_its_root(house: House):
    """So a budget of a rotated key and of its successor are one."""
    successor = await done(house, "POST", f"/keys/{house.record.id}/rotate")
    made = await done(house, "PUT", f"/budgets/key:{successor['id']}/day", limit_usd="1")
    assert made["scope"] == f"key:{house.record.id}"
    await done(house, "DELETE", f"/budgets/key:{house.record.id}/day")
    assert (await call(house, "GET", f"/budgets/key:{successor['id']}/day")).status == 404


async def test_a_budget_that_is_dropped_bounds_nothing(house: House):
    """A second time there is none."""
    path = "/budgets/project:org/project/day"
    await done(house, "PUT", path, limit_usd="0.000000001")
    assert (await house.ask(question())).status == 429
    assert (await done(house, "DELETE", path))["deleted"] is True
    assert (await house.ask(question())).status == 200
    assert (await call(house, "DELETE", path)).status == 404


@pytest.mark.parametrize(
    ("path", "fields", "status", "param"),
    [
        ("user:ann/day", {"limit_usd": "1"}, 400, "scope"),
        ("org/day", {"limit_usd": "1"}, 400, "scope"),
        ("org:/day", {"limit_usd": "1"}, 400, "scope"),
        ("key:key_none/day", {"limit_usd": "1"}, 404, "scope"),
        ("project:project/day", {"limit_usd": "1"}, 400, "scope"),
        ("project:project/day", {"limit_usd": "1", "create": True}, 400, "scope"),
        ("project:org/project/more/day", {"limit_usd": "1", "create": True}, 400, "scope"),
        ("project:org/scans/day", {"limit_usd": "1"}, 404, "scope"),
        ("project:rival/project/day", {"limit_usd": "1"}, 404, "scope"),
        ("org:rival/day", {"limit_usd": "1"}, 404, "scope"),
        ("org:a b/day", {"limit_usd": "1", "create": True}, 400, "scope"),
        ("day", {"limit_usd": "1"}, 400, "scope"),
        ("org:org/week", {"limit_usd": "1"}, 400, "period"),
        ("org:org/day", {}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": 1}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": "0"}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": "-1"}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": "0.0000000001"}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": "1,5"}, 400, "limit_usd"),
        ("org:org/day", {"limit_usd": "1", "limit_nano": 1}, 400, "limit_nano"),
        ("org:org/day", {"limit_usd": "1", "currency": "eur"}, 400, "currency"),
        ("org:org/day", {"limit_usd": "1", "alert_usd": "0"}, 400, "alert_usd"),
        ("org:org/day", {"limit_usd": "1", "alert_usd": "1.01"}, 400, "alert_usd"),
    ],
)
async def test_a_budget_that_cannot_be_is_refused_by_field(
    house: House, path: str, fields: dict[str, Any], status: int, param: str
):
    """And none is set."""
    assert told(await call(house, "PUT", f"/budgets/{path}", **fields)) == (status, param)
    assert (await done(house, "GET", "/budgets"))["data"] == []


@pytest.mark.parametrize("scope", ["org:rival", "project:org/scans"])
async def test_a_budget_of_somebody_new_has_to_be_meant(house: House, scope: str):
    """As credit has."""
    made = await done(house, "PUT", f"/budgets/{scope}/day", limit_usd="1", create=True)
    assert (made["scope"], made["shared"]) == (scope, False)


async def test_a_projects_budget_bounds_the_project_of_its_organisation_only(house: House):
    """Another organisation's has the same name, and nothing to do with it."""
    key, record = mint("rival", "project", "rival", (Scope.INFERENCE,))
    await house.do(AddKey(record, credit_nano=10**9))
    await done(house, "PUT", "/budgets/project:org/project/day", limit_usd="0.000000001")
    assert (await house.ask(question())).error["code"] == "project_spend_limit_exceeded"
    assert (await Client(question(), key).ask(house.app)).status == 200


def test_a_lowered_limit_is_shown_beside_what_holds():
    """Two dollars were spent before the limit became one."""
    state = BudgetState(
        budget=Budget(scope="org:o", period=Period.DAY, limit_nano=10**9),
        account="bud:org:o:x",
        limit_nano=2 * 10**9,
        posted_nano=15 * 10**8,
        reserved_nano=5 * 10**8,
        alerted_at_ms=1_999,
    )
    shown = budget_object(state)
    assert (shown["limit_usd"], shown["enforced_usd"], shown["remaining_usd"]) == ("1", "2", "0")
    assert shown["alerted_at"] == 1
