"""The mismatch that `/metrics` shows, of a real ledger with what an engine counted and what a request used."""

import pytest

from accounting.command import Sample
from tests.gateway.client import Client
from tests.gateway.house import CARD, House, question

SECOND_MS = 1_000
MINUTE_MS = 60_000


async def metrics(house: House) -> str:
    client = await Client(key=house.admin_key, path="/metrics", method="GET").ask(house.app)
    assert client.status == 200
    return client.body.decode()


async def sample(house: House, prompt_tokens: int, output_tokens: int) -> None:
    """The replica is at rest, and its engine has counted so much."""
    counted = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens, "in_flight": 0}
    await house.do(
        Sample(
            replica_id="replica-1",
            epoch="e1",
            model=CARD.served_name,
            at_ms=house.clock.ms,
            state="ready",
            rent_nano_per_hour=50_000_000,
            **counted,
        )
    )


@pytest.mark.parametrize(("unseen", "ratio"), [(0, "0"), (1_000_000, "1")], ids=["agrees", "does not"])
async def test_engine_and_ledger_are_compared(house: House, unseen: int, ratio: str):
    await sample(house, 0, 0)
    house.clock.ms += SECOND_MS
    await house.ask(question())
    (used,) = house.rows("SELECT text_tokens + vision_tokens AS prompt_tokens, output_tokens FROM attempt")
    house.clock.ms += 5 * SECOND_MS
    await sample(house, used["prompt_tokens"] + unseen, used["output_tokens"])
    house.clock.ms += 2 * MINUTE_MS
    (line,) = (
        line for line in (await metrics(house)).splitlines() if line.startswith("vlmfleet_witness_mismatch_ratio")
    )
    name, value = line.rsplit(" ", 1)
    assert name == f'vlmfleet_witness_mismatch_ratio{{model="{CARD.served_name}"}}'
    assert round(float(value), 2) == float(ratio)


async def test_the_ledger_is_looked_at_once_a_minute(house: House):
    """However often the metrics are read."""
    assert "mismatch_ratio{" not in await metrics(house)
    await sample(house, 0, 0)
    house.clock.ms += 59 * SECOND_MS
    await sample(house, 0, 0)
    assert "mismatch_ratio{" not in await metrics(house)
    house.clock.ms += 2 * MINUTE_MS
    assert "mismatch_ratio{" in await metrics(house)
