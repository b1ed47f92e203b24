from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deployments.gateway import answer
from deployments.gateway.bill import Bill, Books
from deployments.ledger.client import LedgerClient
from tests.gateway.engine_server import whole
from tests.gateway.house import HOLD, NOW_MS, PRICE, WORK, House, running_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with running_house(tmp_path) as running:
        yield running


@pytest.fixture
async def bill() -> Bill:
    """The bill of one image, its answer of three tokens complete; its ledger is never connected."""

    async def nowhere() -> Any:
        raise ConnectionError

    bill = Bill(Books(LedgerClient(nowhere), "gw_1", lambda: 0.0, lambda: NOW_MS), HOLD, PRICE, WORK)
    bill.usage = answer.read_usage(whole()["usage"])
    return bill
