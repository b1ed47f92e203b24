"""An engine that does not listen is tried once more elsewhere; the engine is real HTTP, the router is played."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from catalog.card import ModelCard
from deployments.gateway.engine import Engines
from deployments.gateway.errors import EngineFailed, ModelWarming
from deployments.gateway.execution import Executions, Job
from deployments.gateway.forming import Demand, Forming
from deployments.gateway.slots import Replica, Wish
from tests.gateway.engine_server import dies_after, running_engine
from tests.gateway.house import CARD, WORK, Counted

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


async def ask(router: TwoReplicas) -> list[str]:
    """The replicas whose slots were taken, in order."""
    engines, led = Engines(), list[str]()
    executions = Executions(Forming(router.replicas), router, engines, Counted())
    try:
        async with executions.answer(JOB, "request", led.append) as answer:
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


async def test_an_engine_that_had_the_request_is_not_asked_twice():
    """What it did of it is not known."""
    async with running_engine() as engine:
        engine.behaves = dies_after(0)
        with pytest.raises(EngineFailed):
            await ask(TwoReplicas(engine.url, engine.url))
        assert len(engine.asked) == 1
