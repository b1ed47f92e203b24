import asyncio

import pytest

from deployments.ledger import backlog as backlog_module
from deployments.ledger.backlog import Backlog
from deployments.ledger.outbox import Sent
from tests.ledger.commands import POST


def kept(number: int) -> Sent:
    return Sent(number, b"", asyncio.get_running_loop().create_future(), 0.0, POST)


class Sending:
    """What was sent, in order; those in `ended` are not sent any more."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.ended: set[int] = set()

    def __call__(self, sent: Sent) -> bool:
        if sent.number not in self.ended:
            self.numbers.append(sent.number)
        return sent.number not in self.ended

    async def wait_for(self, count: int) -> None:
        for _ in range(1_000):
            if len(self.numbers) < count:
                await asyncio.sleep(0)
        assert len(self.numbers) >= count


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_module, "TRY_AFTER_S", 0.0)


async def test_one_is_tried_and_when_it_is_taken_all_are_sent():
    """A store that fails is not asked for everything again and again."""
    send = Sending()
    backlog, commands = Backlog(send), [kept(number) for number in range(4)]
    for command in commands:
        backlog.add(command)
    await send.wait_for(1)
    await asyncio.sleep(0.01)
    assert send.numbers == [0]
    backlog.end(commands[0])
    assert send.numbers == [0, 1, 2, 3]


async def test_what_fails_again_goes_to_the_end():
    """So one that always fails keeps nobody waiting."""
    send = Sending()
    backlog, commands = Backlog(send), [kept(number) for number in range(2)]
    for command in commands:
        backlog.add(command)
    await send.wait_for(1)
    backlog.add(commands[0])
    await send.wait_for(2)
    assert send.numbers == [0, 1]


async def test_what_has_ended_is_passed_over():
    """It was answered over another connection, say."""
    send = Sending()
    backlog, commands = Backlog(send), [kept(number) for number in range(2)]
    send.ended = {0}
    for command in commands:
        backlog.add(command)
    await send.wait_for(1)
    assert send.numbers == [1]


async def test_it_is_tried_ever_more_rarely(monkeypatch: pytest.MonkeyPatch):
    """Up to a bound, and at once again when one was taken."""
    monkeypatch.setattr(backlog_module, "TRY_AFTER_S", 1.0)
    waits_s: list[float] = []

    def soon(after_s: float, step: object) -> asyncio.Handle:
        waits_s.append(after_s)
        return call_soon(step)

    loop = asyncio.get_running_loop()
    call_soon = loop.call_soon
    monkeypatch.setattr(loop, "call_later", soon)
    send = Sending()
    backlog, command = Backlog(send), kept(0)
    for count in range(1, 9):
        backlog.add(command)
        await send.wait_for(count)
    assert waits_s == [1, 2, 4, 8, 16, 30, 30, 30]
    backlog.end(command)
    backlog.add(command)
    assert waits_s[-1] == 1


async def test_a_new_connection_sends_everything_itself():
    """Nothing is left to be tried."""
    send = Sending()
    backlog = Backlog(send)
    backlog.add(kept(0))
    backlog.clear()
    await asyncio.sleep(0.01)
    assert send.numbers == []


async def test_whose_client_is_about_to_hang_up_is_tried_soon(monkeypatch: pytest.MonkeyPatch):
    """However rarely it has come to be tried, and again and again."""
    send = Sending()
    backlog, command = Backlog(send), kept(0)
    monkeypatch.setattr(backlog_module, "TRY_AFTER_S", 3600.0)
    backlog._after_s = 3600.0
    backlog.add(command)
    monkeypatch.setattr(backlog_module, "TRY_AFTER_S", 0.0)
    backlog.hasten()
    for count in range(1, 4):
        await send.wait_for(count)
        backlog.add(command)
