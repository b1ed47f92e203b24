"""The queue as requests meet it; the clock is the test's."""

import asyncio

import pytest

from catalog.card import Slo
from deployments.gateway.errors import Overloaded
from deployments.gateway.forming.budget import START_TOKENS
from deployments.gateway.forming.demand import Demand
from deployments.gateway.forming.former import BURST_S, WAITING_MAX, Former

SMALL, ALL = Demand("a", 100), Demand("a", int(START_TOKENS))
BATCH = Demand("a", 100, is_batch=True)


class Clock:
    s = 0.0

    def __call__(self) -> float:
        return self.s


class Model:
    """A former whose requests run until they are told to end."""

    def __init__(self, running_max: int = 1000, replicas: int = 1) -> None:
        self.clock = Clock()
        self.replicas = replicas
        self.former = Former(Slo(), running_max, lambda: self.replicas, self.clock)
        self.ends: dict[str, asyncio.Event] = {}
        self.running: list[str] = []

    def begin(self, name: str, demand: Demand = SMALL, wait_s: float = 60.0) -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()
        return asyncio.create_task(self._run(name, demand, wait_s))

    async def _run(self, name: str, demand: Demand, wait_s: float) -> None:
        async with self.former.turn(demand, wait_s) as turn:
            self.running.append(name)
            await self.ends[name].wait()
            turn.began(output_tokens=1000)  # in time, whenever it was
        self.running.remove(name)

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await turns()


async def turns() -> None:
    """Let everything happen that is ready to."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_request_that_finds_room_passes_without_a_task_switch():
    former = Model().former
    others_ran: list[bool] = []
    asyncio.get_running_loop().call_soon(others_ran.append, True)
    async with former.turn(SMALL, 60.0) as turn:
        assert turn.waited_s == 0
    assert others_ran == []


async def test_requests_beyond_the_budget_wait_for_one_to_end():
    model = Model()
    model.begin("first", ALL)
    waits = model.begin("second")
    await turns()
    assert model.running == ["first"]
    await model.end("first")
    assert model.running == ["second"]
    await model.end("second")
    assert waits.done()


async def test_a_prompt_makes_room_when_its_answer_begins():
    """What is left of it is decoding, beside others."""
    model = Model()
    async with model.former.turn(ALL, 60.0) as turn:
        model.begin("second")
        await turns()
        assert model.running == []
        turn.began()
        await turns()
        assert model.running == ["second"]
    assert model.former.load().running_tokens == SMALL.tokens


async def test_a_request_above_the_whole_budget_runs():
    model = Model()
    model.begin("huge", Demand("a", 10**6))
    await turns()
    assert model.running == ["huge"]


async def test_no_more_run_than_the_engines_take():
    """Beyond that they would queue in the engine, where nothing is fair."""
    model = Model(running_max=2, replicas=2)
    for i in range(5):
        model.begin(str(i))
    await turns()
    assert len(model.running) == 4


async def test_two_replicas_have_twice_the_budget():
    model = Model(replicas=2)
    model.begin("first", ALL)
    model.begin("second")
    await turns()
    assert model.running == ["first", "second"]


async def test_batch_work_leaves_half_of_the_budget_free():
    model = Model()
    model.begin("half", Demand("a", int(START_TOKENS) // 2))
    model.begin("batch", BATCH)
    model.begin("interactive")
    await turns()
    assert model.running == ["half", "interactive"]
    await model.end("half")
    assert model.running == ["interactive", "batch"]


async def test_interactive_requests_pass_waiting_batch_work():
    model = Model()
    for i in range(3):
        model.begin(f"batch {i}", Demand("a", int(START_TOKENS) // 2, is_batch=True))
    await turns()
    model.begin("interactive")
    await turns()
    assert model.running == ["batch 0", "interactive"]


async def test_a_request_whose_client_leaves_is_not_run():
    model = Model()
    model.begin("first", ALL)
    leaving, staying = model.begin("leaving"), model.begin("staying")
    await turns()
    leaving.cancel()
    await model.end("first")
    assert model.running == ["staying"]
    assert leaving.cancelled()
    assert not staying.done()


async def test_room_that_comes_as_its_request_is_cancelled_goes_to_the_next():
    model = Model()
    model.begin("first", ALL)
    leaving = model.begin("leaving", ALL)
    model.begin("staying")
    await turns()
    model.ends["first"].set()
    await asyncio.sleep(0)  # the turn of "leaving" is on its way
    leaving.cancel()
    await turns()
    assert model.running == ["staying"]
    assert model.former.load().running_requests == 1


async def test_room_is_not_given_to_a_request_that_was_just_cancelled():
    """Its task has not run since, so it still stands in the queue."""
    model = Model()
    async with model.former.turn(ALL, 60.0):
        leaving = model.begin("leaving")
        model.begin("staying")
        await turns()
        leaving.cancel()
    await turns()
    assert (model.running, model.former.load().running_requests) == (["staying"], 1)


async def test_a_request_waits_so_long_and_no_longer():
    model = Model()
    model.begin("first", ALL)
    await turns()
    with pytest.raises(Overloaded):
        async with model.former.turn(SMALL, 0.001):
            pytest.fail("there is no room")
    assert model.former.load().waiting_requests == 0


async def paced(model: Model, seconds: int) -> None:
    """For so long one of a hundred tokens leaves each second, while others wait."""
    model.begin("blocking", ALL)
    await turns()
    for i in range(seconds + 1):
        model.begin(f"paced {i}")
    model.begin("another", Demand("a", 10**6))
    model.begin("others", BATCH)
    await turns()
    await model.end("blocking")
    for i in range(seconds + 1):
        model.clock.s += 1
        await model.end(f"paced {i}")


async def accepted(model: Model, demand: Demand) -> int:
    """How many of these may wait at this moment."""
    for number in range(WAITING_MAX + 1):
        try:
            model.former.check_room(demand)
        except Overloaded:
            return number
        model.begin(f"{demand.tenant} {demand.tokens} {number}", demand)
        await turns()
    return -1


async def test_a_burst_may_wait_ten_seconds():
    """At a hundred tokens a second those are ten requests of a hundred."""
    model = Model()
    await paced(model, 5)
    assert model.former.load().drain_tokens_per_s == 100
    assert await accepted(model, SMALL) == BURST_S
    with pytest.raises(Overloaded) as refused:
        model.former.check_room(SMALL)
    assert refused.value.retry_after_s == 1 + BURST_S


async def test_under_lasting_overload_a_request_waits_three_quarters_of_its_target():
    """Once a burst was too large: of 2 s that is 1.5, so one may wait. Ten seconds without a refusal later bursts are back."""
    model = Model()
    await paced(model, 5)
    tasks = [model.begin(f"burst {i}") for i in range(int(BURST_S))]
    await turns()
    with pytest.raises(Overloaded):
        model.former.check_room(SMALL)
    for task in tasks:
        task.cancel()
    await turns()
    assert await accepted(model, SMALL) == 1
    model.clock.s += BURST_S
    assert await accepted(model, SMALL) == BURST_S - 1


async def test_a_flood_keeps_nobody_else_out():
    """Nor do the large pages of a tenant keep out its thumbnails."""
    model = Model()
    await paced(model, 5)
    assert await accepted(model, SMALL) > 0
    model.former.check_room(Demand("b", 100))
    model.former.check_room(Demand("a", 1600))


async def test_two_flows_may_wait_half_as_much_each():
    model = Model()
    await paced(model, 5)
    model.begin("other", Demand("b", 100))
    await turns()
    assert await accepted(model, SMALL) == BURST_S / 2


async def test_the_queue_is_bounded_by_count_while_its_pace_is_unknown():
    model = Model()
    model.begin("first", ALL)
    await turns()
    assert await accepted(model, SMALL) == WAITING_MAX
    with pytest.raises(Overloaded) as refused:
        async with model.former.turn(SMALL, 60.0):
            pytest.fail("there is no room")
    assert (refused.value.retry_after_s, model.former.load().refused_requests) == (1, 2)


async def test_late_answers_shrink_what_runs():
    """Three seconds to the first token, where the engine's quarter of the target is half a second."""
    model = Model()
    async with model.former.turn(ALL, 60.0) as turn:
        model.clock.s = 3.0
        turn.began()
        turn.began()
    assert model.former.load().budget_tokens < START_TOKENS
    model.begin("first", Demand("a", 1500))
    model.begin("second")
    await turns()
    assert model.running == ["first"]


async def test_a_whole_answer_has_time_for_its_output():
    """Nothing is seen of it before its end: after two seconds 61 tokens at 100 ms each are in time."""
    model = Model()
    async with model.former.turn(ALL, 60.0) as turn:
        model.clock.s = 2.0
        turn.began(output_tokens=61)
    assert model.former.load().budget_tokens == START_TOKENS


async def test_the_load_says_how_things_stand():
    model = Model()
    model.begin("first", ALL)
    await turns()
    model.begin("second")
    model.begin("third", BATCH)
    await turns()
    model.clock.s = 7.0
    load = model.former.load()
    assert (load.running_requests, load.running_tokens) == (1, ALL.tokens)
    assert (load.waiting_requests, load.waiting_tokens, load.waiting_batch_tokens) == (2, 100, 100)
    assert (load.oldest_wait_s, load.arrived_requests, load.arrived_tokens) == (7.0, 3, ALL.tokens + 200)
    assert (load.drain_tokens_per_s, load.refused_requests) == (None, 0)
