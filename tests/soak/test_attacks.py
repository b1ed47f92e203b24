"""Each attack once, against a gateway with a real ledger behind a real server: afterwards an honest client is answered."""

import random

import pytest

from tests.gateway.house import House, question
from tests.gateway.test_idempotency import served
from tests.soak import attacks
from tests.soak.attacks import ATTACKS
from tests.soak.door import opened


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "HELD_S", 0.5)
    monkeypatch.setattr(attacks, "TRICKLE_S", 0.05)


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_honest_client_is_answered_after(name: str, house: House):
    """The attacker is never told that the server failed."""
    async with served(house) as port, opened(f"http://127.0.0.1:{port}", house.key, ("demo",)) as door:
        answered = await ATTACKS[name](door, random.Random(name))
        assert not answered.startswith("5"), answered
        assert (await house.ask(question())).status == 200
