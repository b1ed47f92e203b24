"""A request for a model of which no replica runs: its whole life, with a real ledger and a real engine."""

from pathlib import Path

import pytest

from catalog.card import ModelCard
from deployments.gateway.errors import ModelWarming
from tests.gateway.house import House, question, running_house


class Asleep:
    """A model that starts for whoever waits 30 s."""

    def check(self, card: ModelCard, patience_s: float, tenant: str) -> None:
        if not patience_s:
            raise ModelWarming(30)

    async def wait(self, card: ModelCard, patience_s: float, tenant: str) -> bool:
        self.check(card, patience_s, tenant)
        if patience_s < 30.0:
            raise ModelWarming(30)
        return True


@pytest.fixture
async def cold(tmp_path: Path):
    async with running_house(tmp_path, waking=Asleep()) as house:
        yield house


async def test_who_waits_for_it_is_answered_and_told_why_it_took_so_long(cold: House):
    client = await cold.ask(question(), prefer="wait=60")
    assert (client.status, client.headers["x-model-cold-start"]) == (200, "true")


async def test_a_stream_is_told_as_well(cold: House):
    client = await cold.ask(question(stream=True), prefer="wait=60")
    assert (client.status, client.headers["x-model-cold-start"]) == (200, "true")


async def test_who_does_not_wait_hears_when_to_come_again_and_nothing_is_held(cold: House):
    client = await cold.ask(question())
    assert (client.status, client.error["code"], client.headers["retry-after"]) == (503, "model_warming", "30")
    assert cold.rows("SELECT * FROM hold") == []


async def test_who_waits_too_short_is_told_and_not_charged(cold: House):
    client = await cold.ask(question(), prefer="wait=5")
    assert (client.status, client.error["code"]) == (503, "model_warming")
    assert [row["outcome"] for row in await cold.usage()] == ["no_replica"]


async def test_a_model_that_runs_says_nothing_of_it(house: House):
    client = await house.ask(question(), prefer="wait=60")
    assert client.status == 200
    assert "x-model-cold-start" not in client.headers


async def test_a_line_of_a_batch_waits_of_its_own(cold: House):
    assert (await cold.ask(question(), **{"x-tier": "batch"})).status == 200
