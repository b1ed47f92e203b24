"""The order in which lines are asked for, and what is done about those that are told to wait."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from deployments.batches.lane import TRIES_ALONE_MAX, TRIES_MAX, Lane, NotNow
from deployments.batches.line import Line, Result
from deployments.batches.tally import FAILED, Tally

ANSWER = Tally(completed=1)


@dataclass
class Gateway:
    """What lanes ask, and what they are told: by line, one after the other; an answer in the end."""

    told: dict[int, list[NotNow]] = field(default_factory=lambda: defaultdict(list))
    asked: list[int] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    open: int = 0
    open_most: int = 0
    gate: asyncio.Semaphore | None = None
    after: Callable[[], None] = lambda: None

    async def ask(self, line: Line) -> Result | NotNow:
        self.asked.append(line.number)
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        if self.gate:
            await self.gate.acquire()
        for _ in range(3):
            await asyncio.sleep(0)
        self.open -= 1
        self.after()
        return self.told[line.number].pop(0) if self.told[line.number] else Result(line.number, ANSWER, b"")

    async def begin(self, model: str, lines: int) -> None:
        self.begun.append(lines)

    async def run(self, lane: Lane, done: tuple[int, ...] = ()) -> None:
        await lane.run(lambda line: line.number in done, self.begin, self.ask, self.results.append)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def lane(
    lines: int,
    at_once: int = 4,
    begun: int = 0,
    slots: asyncio.Semaphore | None = None,
    stop: asyncio.Event | None = None,
) -> Lane:
    asked = [Line(number, 0, 1, f"{number}", "m") for number in range(1, lines + 1)]
    return Lane("m", asked, begun, at_once, slots or asyncio.Semaphore(100), stop or asyncio.Event())


async def test_lines_are_asked_in_their_order_a_few_at_once(gateway: Gateway):
    """Those that have a result are not."""
    await gateway.run(lane(20), done=(3, 7))
    assert gateway.asked == [number for number in range(1, 21) if number not in (3, 7)]
    assert gateway.open_most == 4
    assert sorted(result.number for result in gateway.results) == gateway.asked


async def test_what_may_be_asked_is_written_down_before(gateway: Gateway):
    """For several lines at once."""
    seen: list[tuple[int, int]] = []
    gateway.after = lambda: seen.append((max(gateway.asked), gateway.begun[-1]))
    await gateway.run(lane(10))
    assert gateway.begun == [4, 8, 10]
    assert all(asked <= begun for asked, begun in seen)


async def test_lanes_of_a_model_share_its_slots(gateway: Gateway):
    """And each has its turn: neither runs far ahead."""
    slots = asyncio.Semaphore(4)
    gateway.gate = asyncio.Semaphore(0)
    first, second = Gateway(gate=gateway.gate), Gateway(gate=gateway.gate)
    running = [asyncio.create_task(one.run(lane(20, slots=slots))) for one in (first, second)]
    ahead = 0
    while not all(task.done() for task in running):
        gateway.gate.release()
        for _ in range(10):
            await asyncio.sleep(0)
        assert first.open + second.open <= 4
        ahead = max(ahead, abs(len(first.asked) - len(second.asked)))
    assert ahead <= 4


async def test_a_line_that_is_told_to_wait_is_asked_again(gateway: Gateway):
    """As often as it takes."""
    gateway.told[2] = [NotNow(0.0)] * 10
    await gateway.run(lane(5))
    assert gateway.asked.count(2) == 11
    assert len(gateway.results) == 5


async def test_a_failure_is_an_answer_if_it_happens_too_often(gateway: Gateway):
    """It may be the line that breaks the engine. Waiting is no failure."""
    failure = Result(1, FAILED, b"failed")
    gateway.told[1] = [NotNow(0.0), NotNow(0.0, failure=failure), NotNow(0.0)] * TRIES_MAX
    await gateway.run(lane(1))
    assert gateway.results == [failure]
    assert len(gateway.asked) == 3 * TRIES_MAX - 1


async def test_a_line_that_is_refused_alone_has_that_for_its_answer(gateway: Gateway):
    """Others are answered in between: it is the line's own fault."""
    failure = Result(1, FAILED, b"refused")
    gateway.told[1] = [NotNow(0.0, failure=failure, counts_alone=True)] * 1_000
    await gateway.run(lane(200, at_once=2))
    assert failure in gateway.results
    assert len(gateway.results) == 200
    assert gateway.asked.count(1) < 100  # of its refusals those count between which another was answered


async def test_what_happens_to_all_lines_is_no_fault_of_one(gateway: Gateway):
    """The ledger was away, say: they are asked until it is back."""
    for number in (1, 2, 3):
        refused = NotNow(0.0, failure=Result(number, FAILED, b"refused"), counts_alone=True)
        gateway.told[number] = [refused] * 5 * TRIES_ALONE_MAX
    await gateway.run(lane(3))
    assert [result.ok for result in gateway.results] == [True] * 3


async def test_a_lane_that_is_stopped_begins_nothing_more(gateway: Gateway):
    """What was asked is seen to its end."""
    stop = asyncio.Event()
    gateway.gate = asyncio.Semaphore(0)
    running = asyncio.create_task(gateway.run(lane(20, stop=stop)))
    await asyncio.sleep(0.01)
    stop.set()
    for _ in range(4):
        gateway.gate.release()
    await running
    assert (gateway.asked, len(gateway.results)) == ([1, 2, 3, 4], 4)


async def test_a_lane_that_is_stopped_waits_for_nothing(gateway: Gateway):
    """However long it was told to."""
    stop = asyncio.Event()
    gateway.told[1] = [NotNow(3600.0)]
    running = asyncio.create_task(gateway.run(lane(20, at_once=1, stop=stop)))
    await asyncio.sleep(0.01)
    stop.set()
    await running
    assert (gateway.asked, gateway.results) == ([1], [])


@pytest.mark.parametrize("stopped", [False, True])
async def test_lines_that_may_have_been_asked_by_another_are_asked_whatever_happens(gateway: Gateway, stopped: bool):
    """They may be charged already."""
    stop = asyncio.Event()
    if stopped:
        stop.set()
    gateway.told[2] = [NotNow(0.0, may_run=True)]
    await gateway.run(lane(6, begun=3, stop=stop), done=(1,))
    assert sorted(set(gateway.asked)) == ([2, 3] if stopped else [2, 3, 4, 5, 6])
    assert {2, 3} <= {result.number for result in gateway.results}
