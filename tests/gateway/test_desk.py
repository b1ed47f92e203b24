from collections.abc import AsyncIterator

import pytest

from accounting.budget import Period
from accounting.command import DropBudget, Reply, Result
from accounting.questions import Audit, Budgets, FleetTotals, Listing
from accounting.store import Place
from deployments.gateway.desk import REFUSALS, Desk
from deployments.gateway.errors import GatewayError, LedgerUnavailable
from deployments.ledger.client import NoAnswer
from tests.gateway.house import House

COMMAND = DropBudget("org:org", Period.DAY)


class Ledger:
    """A connection that is there, and says what it is told to."""

    connected = True

    def __init__(self, says: Reply | Exception) -> None:
        self._says = says

    async def submit(self, command: object) -> Reply:
        if isinstance(self._says, Exception):
            raise self._says
        return self._says

    ask = submit

    async def pages(self, listing: Listing[object], after: Place = ()) -> AsyncIterator[list[object]]:
        yield [await self.submit(listing)]


@pytest.mark.parametrize(
    ("result", "status", "param"),
    [
        (Result.EXISTS_WITH_DIFFERENT_CONTENT, 409, "ref"),
        (Result.ABOVE_THE_HOLD, 409, "amount_usd"),
        (Result.NO_SUCH_KEY, 404, None),
        (Result.NO_SUCH_BUDGET, 404, None),
        (Result.NO_SUCH_HOLD, 404, "request_id"),
        (Result.INVALID, 400, None),
        (Result.UNAVAILABLE, 503, None),
    ],
)
async def test_a_refusal_of_the_ledger_s_is_an_error(result: Result, status: int, param: str | None):
    """Each by its name."""
    with pytest.raises(GatewayError) as refused:
        await Desk(Ledger(Reply(result))).carry_out(COMMAND)
    assert (refused.value.status, refused.value.param) == (status, param)


@pytest.mark.parametrize("result", [Result.CREATED, Result.CHANGED, Result.EXISTS])
async def test_what_took_effect_is_a_reply(result: Result):
    """Now, or when it was sent before."""
    assert (await Desk(Ledger(Reply(result))).carry_out(COMMAND)).result is result


def test_every_refusal_is_of_its_own_making():
    """An error is raised once: it carries the traceback of its request."""
    for refusal in REFUSALS.values():
        assert refusal() is not refusal()


@pytest.mark.parametrize("failure", [TimeoutError(), NoAnswer("the disk is full")])
async def test_a_ledger_without_an_answer_is_unavailable(failure: Exception):
    """Its own reason stays in the log."""
    with pytest.raises(LedgerUnavailable) as refused:
        await Desk(Ledger(failure)).ask(FleetTotals())
    assert "disk" not in refused.value.message


async def test_nothing_is_sent_while_the_ledger_is_away(house: House):
    """It would take effect when nobody expects it any more."""
    await house.ledger.close(0)
    with pytest.raises(LedgerUnavailable):
        await Desk(house.ledger).carry_out(COMMAND)
    assert house.ledger.unacknowledged == 0


async def test_a_long_answer_is_read_in_pages(house: House):
    """Or whole, where that is wanted."""
    desk = Desk(house.ledger)
    ever = Audit(from_ms=0, to_ms=2**60)
    lines = [line async for page in desk.pages(ever) for line in page]
    assert lines == await desk.rows(ever)
    assert {line.action for line in lines} == {"add_key", "grant"}


async def test_without_a_ledger_there_are_no_pages(house: House):
    await house.ledger.close(0)
    with pytest.raises(LedgerUnavailable):
        await Desk(house.ledger).rows(Budgets())


async def test_pages_that_the_store_cannot_read_are_unavailable():
    """As a short answer is."""
    with pytest.raises(LedgerUnavailable):
        await Desk(Ledger(NoAnswer("the disk is full"))).rows(Budgets())
