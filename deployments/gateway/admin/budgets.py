"""Budgets: set, read with the account that enforces them, dropped."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from accounting.budget import BudgetState, Period, ScopeKind, UnknownScope, parse_scope
from accounting.command import DropBudget, SetBudget
from accounting.key import KeyRecord
from accounting.money import usd
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.admin.shape import dollars, listed, seconds
from deployments.gateway.desk import Desk
from deployments.gateway.errors import BadRequest, NothingOfThatName
from deployments.gateway.form import Currency, Dollars, Form, read_body


class BudgetForm(Form):
    """What a scope may spend in a period, and from which sum on its operator is told."""

    limit_nano: Annotated[Dollars, Field(alias="limit_usd")]
    alert_nano: Annotated[Dollars | None, Field(alias="alert_usd")] = None
    currency: Currency = "usd"


class Budgets:
    """A budget of a key bounds all keys that it was rotated from and to."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "GET", "/budgets", self.listing
        yield "GET", "/budgets/{scope}/{period}", self.read
        yield "PUT", "/budgets/{scope}/{period}", self.set
        yield "DELETE", "/budgets/{scope}/{period}", self.drop

    async def listing(self, call: Call) -> dict[str, Any]:
        return listed(map(budget_object, await self._desk.ask("budgets")))

    async def read(self, call: Call, scope: str, period: str) -> dict[str, Any]:
        wanted = await self._scope(scope), period_of(period)
        for state in await self._desk.ask("budgets"):
            if (state.budget.scope, state.budget.period) == wanted:
                return budget_object(state)
        raise NothingOfThatName("budget")

    async def set(self, call: Call, scope: str, period: str) -> dict[str, Any]:
        asked = read_body(BudgetForm, call.body)
        if asked.alert_nano is not None and asked.alert_nano > asked.limit_nano:
            raise BadRequest("'alert_usd' is above 'limit_usd', so it would never be reached.", param="alert_usd")
        bounded, of_period = await self._scope(scope), period_of(period)
        await self._desk.carry_out(SetBudget(bounded, of_period, asked.limit_nano, asked.alert_nano, by=call.by.id))
        return await self.read(call, scope, period)

    async def drop(self, call: Call, scope: str, period: str) -> dict[str, Any]:
        bounded, of_period = await self._scope(scope), period_of(period)
        await self._desk.carry_out(DropBudget(bounded, of_period, by=call.by.id))
        return {"object": "budget", "scope": bounded, "period": of_period, "deleted": True}

    async def _scope(self, scope: str) -> str:
        """The scope as the ledger knows it: a key by its root. Raises `BadRequest` or `NothingOfThatName`."""
        try:
            kind, name = parse_scope(scope)
        except UnknownScope as error:
            raise BadRequest(f"'scope': {error}.", param="scope") from error
        if kind is not ScopeKind.KEY:
            return scope
        records: list[KeyRecord] = await self._desk.ask("keys")
        for record in records:
            if record.id == name:
                return f"{kind}:{record.root}"
        raise NothingOfThatName("key", param="scope")


def period_of(period: str) -> Period:
    """Raises `BadRequest`."""
    try:
        return Period(period)
    except ValueError as error:
        raise BadRequest(f"'period' is {', '.join(Period)}.", param="period") from error


def budget_object(state: BudgetState) -> dict[str, Any]:
    """A budget, and the row that enforces it. `enforced_usd` is above `limit_usd` where more was spent before it was set."""
    budget = state.budget
    return {
        "object": "budget",
        "scope": budget.scope,
        "period": budget.period,
        "account": state.account,
        "limit_usd": usd(budget.limit_nano),
        "alert_usd": dollars(budget.alert_nano),
        "enforced_usd": usd(state.limit_nano),
        "posted_usd": usd(state.posted_nano),
        "reserved_usd": usd(state.reserved_nano),
        "remaining_usd": usd(state.remaining_nano),
        "alerted_at": seconds(state.alerted_at_ms),
    }
