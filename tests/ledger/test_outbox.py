import asyncio
from dataclasses import replace

import pytest

from accounting.command import Command
from deployments.ledger.outbox import HOLD_PATIENCE_S, KEPT_S, PATIENCE_S, WAITING_BYTES_MAX, WAITING_MAX, Outbox, Sent
from tests.ledger.commands import GIFT, HOLD, POST


def sent(command: Command | None, number: int = 1, line: bytes = b"") -> Sent:
    return Sent(number, line, asyncio.get_running_loop().create_future(), 0.0, command)


@pytest.fixture(params=["many", "long"])
async def full(request: pytest.FixtureRequest) -> Outbox:
    outbox = Outbox()
    many = request.param == "many"
    for number in range(WAITING_MAX if many else 1):
        outbox.add(sent(POST, number, b"" if many else b"x" * WAITING_BYTES_MAX))
    return outbox


async def test_what_waits_is_bounded_but_for_what_ends_a_hold(full: Outbox):
    """By number and by bytes; when one of them has gone there is room."""
    assert not full.has_room(HOLD)
    assert not full.has_room(GIFT)
    assert full.has_room(POST)
    full.acknowledge(0)
    assert full.has_room(HOLD)


@pytest.mark.parametrize(("command", "patience_s"), [(HOLD, HOLD_PATIENCE_S), (GIFT, PATIENCE_S)])
async def test_what_somebody_waits_for_is_sent_again_until_nobody_does(command: Command, patience_s: float):
    outbox, one = Outbox(), sent(command)
    assert not outbox.fail(one, patience_s - 0.1)
    assert outbox.fail(one, patience_s)


async def test_a_charge_is_sent_again_for_ever_while_the_store_fails_everything():
    """That is a fault of the store's, and ends with it."""
    outbox, one = Outbox(), sent(POST)
    assert not any(outbox.fail(one, second) for second in range(10 * round(KEPT_S)))


@pytest.mark.parametrize(("failed_at_s", "for_good"), [(KEPT_S - 1, False), (KEPT_S, True)])
async def test_a_charge_that_fails_alone_is_given_up_once_its_hold_has_expired(failed_at_s: float, for_good: bool):
    """Another was taken between two of its failures."""
    outbox, one = Outbox(), sent(POST)
    outbox.add(one)
    assert not outbox.fail(one, 1.0)
    outbox.add(sent(replace(POST, request_id="r2"), number=2))
    outbox.acknowledge(2)
    assert outbox.fail(one, failed_at_s) is for_good
