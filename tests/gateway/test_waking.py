"""A model of which no replica runs; the governor's word and Serve's are played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from catalog.card import ModelCard
from deployments.gateway import waking
from deployments.gateway.errors import BadRequest, ModelWarming, Overloaded
from deployments.gateway.slots import Replica, Wish
from deployments.gateway.waking import FleetWaking, patience_s
from deployments.scaling.report import News
from tests.gateway.house import CARD

FOREVER_S = 60.0
TENANT = "org/project"


class Fleet:
    """A router, and what the governor says: None if nothing."""

    def __init__(self, running: int | None = None, heard: bool = False, expected_s: float = 42.3) -> None:
        self.running = running
        self.heard = heard
        self.expected_s = expected_s
        self.knocks = 0
        self.opens = asyncio.Event()

    def runs(self, card: ModelCard) -> bool:
        return self.heard

    def replicas(self, card: ModelCard) -> int:
        return 1

    def news(self, model: str) -> News | None:
        return None if self.running is None else News(self.running, self.expected_s)

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        self.knocks += 1
        await self.opens.wait()
        self.heard = True
        yield Replica("r1", "http://10.0.0.9:1", "t")

    @property
    def waking(self) -> FleetWaking:
        return FleetWaking(self, self.news)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "LOOK_EVERY_S", 0.001)


async def test_a_model_at_zero_says_when_to_come_again():
    with pytest.raises(ModelWarming) as refusal:
        Fleet(running=0).waking.check(CARD, 0.0, TENANT)
    assert refusal.value.retry_after_s == 43


@pytest.mark.parametrize(("expected_s", "told_s"), [(0.2, 1), (600.0, 120)])
async def test_what_is_told_is_a_time_that_clients_can_use(expected_s: float, told_s: int):
    with pytest.raises(ModelWarming) as refusal:
        await Fleet(running=0, expected_s=expected_s).waking.wait(CARD, 0.0, TENANT)
    assert refusal.value.retry_after_s == told_s


@pytest.mark.parametrize("fleet", [Fleet(running=2), Fleet(running=0, heard=True), Fleet(heard=True)])
async def test_a_model_that_runs_makes_nobody_wait(fleet: Fleet):
    """Whoever of governor and Serve says so; a gateway hears of a new replica first."""
    fleet.waking.check(CARD, 0.0, TENANT)
    assert await fleet.waking.wait(CARD, FOREVER_S, TENANT) is False
    assert fleet.knocks == 0


async def test_who_is_patient_waits_and_is_told_so():
    fleet = Fleet(running=0)
    waiting = asyncio.create_task(fleet.waking.wait(CARD, FOREVER_S, TENANT))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    fleet.running = 1
    assert await waiting is True
    assert fleet.knocks == 0  # else Serve's own rule would start one, and ask nobody


async def test_patience_ends():
    with pytest.raises(ModelWarming):
        await Fleet(running=0).waking.wait(CARD, 0.01, TENANT)


async def test_only_so_many_of_a_tenant_wait_and_others_find_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waking, "WAITING_MAX", 4)
    gate = Fleet(running=0).waking
    waiting = [asyncio.create_task(gate.wait(CARD, FOREVER_S, TENANT)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        gate.check(CARD, FOREVER_S, TENANT)
    with pytest.raises(Overloaded):
        await gate.wait(CARD, FOREVER_S, TENANT)
    gate.check(CARD, FOREVER_S, "org/other")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    gate.check(CARD, FOREVER_S, TENANT)


async def test_without_a_governor_one_request_knocks_for_all_that_wait():
    fleet = Fleet()
    gate = fleet.waking
    waiting = [asyncio.create_task(gate.wait(CARD, FOREVER_S, TENANT)) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert fleet.knocks == 1
    fleet.opens.set()
    await asyncio.gather(*waiting)
    assert fleet.knocks == 1


async def test_without_a_governor_and_without_patience_requests_go_their_usual_way():
    fleet = Fleet()
    fleet.waking.check(CARD, 0.0, TENANT)
    assert await fleet.waking.wait(CARD, 0.0, TENANT) is False
    assert fleet.knocks == 0


@pytest.mark.parametrize(
    ("prefer", "patience"),
    [(None, 0), ("wait=60", 60), ("respond-async, wait=5", 5), ('Wait = "7"', 7), ("return=minimal", 0), ("wait=0", 0)],
)
def test_patience_is_what_the_client_prefers(prefer: str | None, patience: float):
    assert patience_s(prefer) == patience


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=1.5", "wait=-1", "wait=9999999999", "wait=x"])
def test_a_patience_that_is_no_number_is_refused(prefer: str):
    with pytest.raises(BadRequest) as refusal:
        patience_s(prefer)
    assert refusal.value.param == "Prefer"
