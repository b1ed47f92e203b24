from typing import Any

import pytest

from accounting.money import usd
from accounting.store import Balance
from deployments.gateway.admin.credit import balance_object
from tests.gateway.admin.operator import call, done, told
from tests.gateway.house import House, question

CREDIT = {"ref": "invoice-7", "org": "acme", "amount_usd": "2.50", "reason": "paid in advance"}


async def balance(house: House, account: str) -> dict[str, Any]:
    listed = (await done(house, "GET", "/balances"))["data"]
    return next(shown for shown in listed if shown["account"] == account)


async def charged(house: House) -> tuple[str, int]:
    """A request's id, and what it cost."""
    answer = await house.ask(question())
    cost_nano = house.charged_nano(answer)
    assert cost_nano
    return answer.headers["x-vlm-request-id"], cost_nano


async def test_credit_is_given_once_a_ref(house: House):
    """A repeat is told as such, and changes nothing."""
    given = await done(house, "POST", "/credits", **CREDIT, create=True)
    assert given == {"object": "credit", "result": "created"} | CREDIT | {"amount_usd": "2.5"}
    assert (await done(house, "POST", "/credits", **CREDIT))["result"] == "exists"
    shown = await balance(house, "credit:acme")
    assert (shown["posted_usd"], shown["remaining_usd"]) == ("-2.5", "2.5")


@pytest.mark.parametrize("change", [{"amount_usd": "2.51"}, {"org": "other"}])
async def test_a_ref_is_for_one_credit(house: House, change: dict[str, str]):
    """The same ref for something else is a mistake of the caller's."""
    await done(house, "POST", "/credits", **CREDIT, create=True)
    refused = await call(house, "POST", "/credits", **CREDIT | change, create=True)
    assert told(refused) == (409, "ref")
    assert refused.headers["x-should-retry"] == "false"


async def test_credit_for_nobody_is_a_slip(house: House):
    """An organisation is known by a key or an account; a new one has to be meant."""
    slip = CREDIT | {"org": "orgg"}
    assert told(await call(house, "POST", "/credits", **slip)) == (404, "org")
    assert all(shown["account"] != "credit:orgg" for shown in (await done(house, "GET", "/balances"))["data"])
    assert (await done(house, "POST", "/credits", **slip | {"org": "org"}))["result"] == "created"
    new = slip | {"ref": "invoice-8"}
    assert (await done(house, "POST", "/credits", **new, create=True))["result"] == "created"
    assert (await done(house, "POST", "/credits", **new | {"ref": "invoice-9"}))["result"] == "created"


async def test_a_refund_goes_back_to_who_paid(house: House):
    """By the answer's id, once a ref."""
    request_id, cost_nano = await charged(house)
    assert (await balance(house, "credit:org"))["posted_usd"] == usd(cost_nano - 10**9)
    refund = {
        "ref": "sorry-1",
        "request_id": f"chatcmpl-{request_id}",
        "amount_usd": usd(cost_nano),
        "reason": "blurred",
    }
    assert (await done(house, "POST", "/refunds", **refund))["result"] == "created"
    assert (await done(house, "POST", "/refunds", **refund))["result"] == "exists"
    assert (await balance(house, "credit:org"))["posted_usd"] == "-1"


async def test_refunds_are_at_most_the_charge(house: House):
    """All refunds of a request together; and a ref is for one of them."""
    request_id, cost_nano = await charged(house)
    refund = {"ref": "sorry-1", "request_id": request_id, "amount_usd": usd(cost_nano - 1), "reason": "blurred"}
    await done(house, "POST", "/refunds", **refund)
    assert told(await call(house, "POST", "/refunds", **refund | {"amount_usd": "0.000000001"})) == (409, "ref")
    second = refund | {"ref": "sorry-2"}
    assert told(await call(house, "POST", "/refunds", **second)) == (409, "amount_usd")
    await done(house, "POST", "/refunds", **second | {"amount_usd": "0.000000001"})


async def test_what_was_not_charged_is_not_refunded(house: House):
    """404, by the field that named it."""
    refund = {"ref": "r", "request_id": "chatcmpl-none", "amount_usd": "1", "reason": "x"}
    assert told(await call(house, "POST", "/refunds", **refund)) == (404, "request_id")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"amount_usd": 2.5}, "amount_usd"),
        ({"amount_usd": 2}, "amount_usd"),
        ({"amount_usd": "0"}, "amount_usd"),
        ({"amount_usd": "-2.5"}, "amount_usd"),
        ({"amount_usd": "0.1234567891"}, "amount_usd"),
        ({"amount_usd": "1e3"}, "amount_usd"),
        ({"amount_usd": "99999999999"}, "amount_usd"),
        ({"currency": "eur"}, "currency"),
        ({"ref": ""}, "ref"),
        ({"reason": ""}, "reason"),
        ({"organisation": "acme"}, "organisation"),
    ],
)
async def test_what_cannot_be_booked_is_refused_by_field(house: House, change: dict[str, Any], param: str):
    """Credits and refunds alike, before the ledger is asked."""
    assert told(await call(house, "POST", "/credits", **CREDIT | change)) == (400, param)
    if "organisation" not in change:
        refund = {"ref": "r", "request_id": "x", "amount_usd": "1", "reason": "x"} | change
        assert told(await call(house, "POST", "/refunds", **refund)) == (400, param)


@pytest.mark.parametrize(
    ("balance", "limit", "remaining"),
    [
        (
            Balance(account="credit:o", kind="credit", limit_nano=0, posted_nano=-5 * 10**9, reserved_nano=10**9),
            "0",
            "4",
        ),  # 0 - -5 - 1
        (
            Balance(account="revenue", kind="contra", limit_nano=None, posted_nano=-5 * 10**9, reserved_nano=0),
            None,
            None,
        ),
    ],
)
def test_what_is_left_of_an_account(balance: Balance, limit: str | None, remaining: str | None):
    """Nothing bounds an account without a limit."""
    shown = balance_object(balance)
    assert (shown["limit_usd"], shown["remaining_usd"]) == (limit, remaining)
