"""Credit and refunds, each booked once a `ref`; and what is on every account."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from accounting import questions
from accounting.command import Grant, Refund
from accounting.money import usd
from accounting.store import Balance
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.admin.owners import check_organisation
from deployments.gateway.admin.shape import dollars, listed
from deployments.gateway.answer import completion_id
from deployments.gateway.desk import Desk
from deployments.gateway.form import Currency, Dollars, Form, Id, Ref, read_body
from deployments.gateway.keys import Keys

Reason = Annotated[str, Field(min_length=1, max_length=500)]


class CreditForm(Form):
    """Sent again with the same `ref`, it is given once. `create`: the organisation may be one that has neither key nor account."""

    ref: Ref
    org: Id
    amount_nano: Annotated[Dollars, Field(alias="amount_usd")]
    reason: Reason
    currency: Currency = "usd"
    create: bool = False


class RefundForm(Form):
    """`request_id`: of an answer (`chatcmpl-...`), or of its header `x-vlm-request-id`."""

    ref: Ref
    request_id: Annotated[str, Field(min_length=1)]
    amount_nano: Annotated[Dollars, Field(alias="amount_usd")]
    reason: Reason
    currency: Currency = "usd"


class Credit:
    """A refund goes to every account that paid: the credit, and the budgets that counted it."""

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk = desk
        self._keys = keys

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "POST", "/credits", self.grant
        yield "POST", "/refunds", self.refund
        yield "GET", "/balances", self.balances

    async def grant(self, call: Call) -> dict[str, Any]:
        asked = read_body(CreditForm, call.body)
        if not asked.create:
            await check_organisation(self._desk, self._keys, asked.org, param="org")
        grant = Grant(
            ref=asked.ref,
            account=f"credit:{asked.org}",
            amount_nano=asked.amount_nano,
            reason=asked.reason,
            by=call.by.id,
        )
        reply = await self._desk.carry_out(grant)
        return {
            "object": "credit",
            "result": reply.result,
            "ref": asked.ref,
            "org": asked.org,
            "amount_usd": usd(asked.amount_nano),
            "reason": asked.reason,
        }

    async def refund(self, call: Call) -> dict[str, Any]:
        asked = read_body(RefundForm, call.body)
        request_id = asked.request_id.removeprefix(completion_id(""))
        refund = Refund(
            ref=asked.ref, request_id=request_id, amount_nano=asked.amount_nano, reason=asked.reason, by=call.by.id
        )
        reply = await self._desk.carry_out(refund)
        return {
            "object": "refund",
            "result": reply.result,
            "ref": asked.ref,
            "request_id": request_id,
            "amount_usd": usd(asked.amount_nano),
            "reason": asked.reason,
        }

    async def balances(self, call: Call) -> dict[str, Any]:
        return listed(map(balance_object, await self._desk.rows(questions.Balances())))


def balance_object(balance: Balance) -> dict[str, Any]:
    """An account. `posted_usd` is what was used: negative for prepaid credit. What is left is null where nothing bounds it."""
    left_nano = None if balance.limit_nano is None else balance.limit_nano - balance.posted_nano - balance.reserved_nano
    return {
        "object": "balance",
        "account": balance.account,
        "kind": balance.kind,
        "limit_usd": dollars(balance.limit_nano),
        "posted_usd": usd(balance.posted_nano),
        "reserved_usd": usd(balance.reserved_nano),
        "remaining_usd": dollars(left_nano),
    }
