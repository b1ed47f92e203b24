"""An engine that does not listen is tried once more elsewhere; the engine is real HTTP, the router is played."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from catalog.card import ModelCard
from deployments.gateway import execution
from deployments.gateway.engine import Engines
from deployments.gateway.errors import EngineFailed, ModelWarming
from deployments.gateway.execution import Executions, Job
from deployments.gateway.forming import Demand, Forming
from deployments.gateway.route import Router
from deployments.gateway.slots import Replica, Wish
from tests.gateway.engine_server import (
    Behaviour,
    dies,
    dies_after,
    dies_in_the_first_event,
    dies_with,
    refuses,
    running_engine,
)
from tests.gateway.house import CARD, WORK, Counted, OneReplica

JOB = Job(CARD, b"{}", Demand("tenant", 100), "image", 60.0, WORK)


class TwoReplicas:
    """The first unless it is to be avoided. `failed` are those that were given back by an error."""

    def __init__(self, first: str, second: str) -> None:
        self.urls = {"first": first, "second": second}
        self.failed: list[str] = []

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        name = "second" if wish.avoid == "first" else "first"
        try:
            yield Replica(name, self.urls[name], "token")
        except BaseException:
            self.failed.append(name)
            raise

    def replicas(self, card: ModelCard) -> int:
        return 2


@pytest.fixture
def nobody() -> str:
    """A URL where nothing listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


async def ask(router: Router, job: Job = JOB) -> list[str]:
    """The replicas whose slots were taken, in order."""
    engines, led = Engines(), list[str]()
    executions = Executions(Forming(router.replicas), router, engines, Counted())
    try:
        async with executions.answer(job, "request", led.append) as answer:
            await answer.whole()
    finally:
        await engines.close()
    return led


async def test_a_replica_whose_engine_restarts_is_passed_over(nobody: str):
    async with running_engine() as engine:
        router = TwoReplicas(nobody, engine.url)
        assert await ask(router) == ["first", "second"]
        assert (len(engine.asked), router.failed) == (1, ["first"])


async def test_there_is_no_third_try(nobody: str):
    router = TwoReplicas(nobody, nobody)
    with pytest.raises(ModelWarming):
        await ask(router)
    assert router.failed == ["first", "second"]


class ComesBack(TwoReplicas):
    """Two replicas on which nothing listens, until the fleet has started another."""

    def __init__(self, nobody: str, url: str) -> None:
        super().__init__(nobody, nobody)
        self._url = url

    @asynccontextmanager
    async def replica(self, card: ModelCard, wait_s: float, wish: Wish) -> AsyncIterator[Replica]:
        if len(self.failed) == 3:
            self.failed.append("none runs")
            raise ModelWarming
        if len(self.failed) > 3:
            self.urls = dict.fromkeys(self.urls, self._url)
        async with super().replica(card, wait_s, wish) as replica:
            yield replica


@pytest.mark.parametrize(("patience_s", "is_answered"), [(60.0, True), (0.0, False)])
async def test_who_waits_for_a_start_waits_for_a_lost_model(
    nobody: str, patience_s: float, is_answered: bool, monkeypatch: pytest.MonkeyPatch
):
    """All that ran of it has died under the request: nothing listens, then nothing runs, then it is there again."""
    monkeypatch.setattr(execution, "LOOK_EVERY_S", 0.001)
    async with running_engine() as engine:
        router = ComesBack(nobody, engine.url)
        asked = ask(router, replace(JOB, patience_s=patience_s))
        if is_answered:
            await asked
        else:
            with pytest.raises(ModelWarming):
                await asked
        assert len(engine.asked) == int(is_answered)


DEATHS = pytest.mark.parametrize(
    "behaves",
    [dies(), dies_with(500), dies_with(503), dies_in_the_first_event()],
    ids=["hangs up", "500", "503", "in the first event"],
)


@DEATHS
async def test_a_request_goes_elsewhere_when_its_engine_dies_under_it(behaves: Behaviour):
    """Nothing of its answer was told to anybody."""
    async with running_engine() as dying, running_engine() as engine:
        dying.behaves = behaves
        router = TwoReplicas(dying.url, engine.url)
        assert await ask(router) == ["first", "second"]
        assert (len(dying.asked), len(engine.asked), router.failed) == (1, 1, ["first"])


@DEATHS
async def test_where_there_is_no_other_replica_the_model_starts_again(behaves: Behaviour):
    """So the caller is told to come back, whether the dying engine answered him twice or not."""
    async with running_engine() as dying:
        dying.behaves = behaves
        with pytest.raises(ModelWarming):
            await ask(OneReplica(dying.url))


async def test_a_request_under_which_two_engines_died_has_no_third():
    """It may be what kills them."""
    async with running_engine() as first, running_engine() as second:
        first.behaves = second.behaves = dies()
        with pytest.raises(EngineFailed):
            await ask(TwoReplicas(first.url, second.url), replace(JOB, patience_s=60.0))
        assert (len(first.asked), len(second.asked)) == (1, 1)


@pytest.mark.parametrize("behaves", [dies_after(0), refuses(500, "a fault")], ids=["hangs up", "500"])
async def test_a_failure_of_an_engine_that_is_well_is_the_requests_own(behaves: Behaviour):
    """What it did of it is not known, and another engine would do the same."""
    async with running_engine() as engine:
        engine.behaves = behaves
        with pytest.raises(EngineFailed):
            await ask(TwoReplicas(engine.url, engine.url))
        assert len(engine.asked) == 1
