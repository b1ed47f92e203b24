"""Budgets: set, read with the account that enforces them, dropped."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from accounting import questions
from accounting.budget import BudgetState, Period, ScopeKind, UnknownScope, is_shared, parse_scope
from accounting.command import DropBudget, SetBudget
from accounting.money import usd
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.admin.owners import check_organisation, check_project
from deployments.gateway.admin.shape import dollars, listed, seconds
from deployments.gateway.desk import Desk
from deployments.gateway.errors import BadRequest, NothingOfThatName
from deployments.gateway.form import Currency, Dollars, Form, Id, read_body
from deployments.gateway.keys import Keys

ID: TypeAdapter[str] = TypeAdapter(Id)


class BudgetForm(Form):
    """What a scope may spend in a period, and from which sum on its operator is told. `create`: the project or organisation may
    be one that has no key yet.
    """

    limit_nano: Annotated[Dollars, Field(alias="limit_usd")]
    alert_nano: Annotated[Dollars | None, Field(alias="alert_usd")] = None
    currency: Currency = "usd"
    create: bool = False


class Budgets:
    """A budget of a key bounds all keys that it was rotated from and to."""

    def __init__(self, desk: Desk, keys: Keys) -> None:
        self._desk = desk
        self._keys = keys

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "GET", "/budgets", self.listing
        # A budget's name is `<scope>/<period>`; the scope of a project has a slash of its own.
        yield "GET", "/budgets/{name...}", self.read
        yield "PUT", "/budgets/{name...}", self.set
        yield "DELETE", "/budgets/{name...}", self.drop

    async def listing(self, call: Call) -> dict[str, Any]:
        return listed(map(budget_object, await self._desk.rows(questions.Budgets())))

    async def read(self, call: Call, name: str) -> dict[str, Any]:
        wanted = await self._named(name)
        for state in await self._desk.rows(questions.Budgets()):
            if (state.budget.scope, state.budget.period) == wanted:
                return budget_object(state)
        raise NothingOfThatName("budget")

    async def set(self, call: Call, name: str) -> dict[str, Any]:
        asked = read_body(BudgetForm, call.body)
        if asked.alert_nano is not None and asked.alert_nano > asked.limit_nano:
            raise BadRequest("'alert_usd' is above 'limit_usd', so it would never be reached.", param="alert_usd")
        scope, period = await self._named(name)
        await self._check_owner(scope, create=asked.create)
        await self._desk.carry_out(
            SetBudget(
                scope=scope, period=period, limit_nano=asked.limit_nano, alert_nano=asked.alert_nano, by=call.by.id
            )
        )
        return await self.read(call, name)

    async def drop(self, call: Call, name: str) -> dict[str, Any]:
        scope, period = await self._named(name)
        await self._desk.carry_out(DropBudget(scope, period, by=call.by.id))
        return {"object": "budget", "scope": scope, "period": period, "deleted": True}

    async def _named(self, name: str) -> tuple[str, Period]:
        """`project:acme/scans/month` -> ("project:acme/scans", MONTH). Raises `BadRequest` or `NothingOfThatName`."""
        scope, _, period = name.rpartition("/")
        return await self._scope(scope), period_of(period)

    async def _check_owner(self, scope: str, *, create: bool) -> None:
        """Raises `BadRequest` or `UnknownOwner`."""
        kind, name = parse_scope(scope)
        if is_shared(scope):
            raise BadRequest(
                "'scope': say of which organisation the project is: project:<organisation>/<project>.", param="scope"
            )
        org_id, _, project_id = name.partition("/")
        try:
            for part in filter(None, (org_id, project_id)):
                ID.validate_python(part)
        except ValidationError as error:
            raise BadRequest("'scope': that is no name of an organisation or project.", param="scope") from error
        if create or kind is ScopeKind.KEY:
            return
        if kind is ScopeKind.PROJECT:
            await check_project(self._desk, self._keys, org_id, project_id, param="scope")
        else:
            await check_organisation(self._desk, self._keys, name, param="scope")

    async def _scope(self, scope: str) -> str:
        """The scope as the ledger knows it: a key by its root. Raises `BadRequest` or `NothingOfThatName`."""
        try:
            kind, name = parse_scope(scope)
        except UnknownScope as error:
            raise BadRequest(f"'scope': {error}.", param="scope") from error
        if kind is not ScopeKind.KEY:
            return scope
        await self._keys.refresh(self._desk)
        if record := self._keys.find(name):
            return f"{kind}:{record.root}"
        raise NothingOfThatName("key", param="scope")


def period_of(period: str) -> Period:
    """Raises `BadRequest`."""
    try:
        return Period(period)
    except ValueError as error:
        raise BadRequest(f"'period' is {', '.join(Period)}.", param="period") from error


def budget_object(state: BudgetState) -> dict[str, Any]:
    """A budget, and the row that enforces it. `enforced_usd` is above `limit_usd` where more was spent before it was set.
    `shared`: it is of a version that did not know whose projects are whose, and bounds those of this name in every organisation.
    """
    budget = state.budget
    return {
        "object": "budget",
        "scope": budget.scope,
        "shared": is_shared(budget.scope),
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
