from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.batches.office import Office, running_office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with running_office(tmp_path) as running:
        yield running
