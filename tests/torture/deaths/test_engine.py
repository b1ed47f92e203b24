from pathlib import Path

import pytest

from catalog import load_catalog
from deployments.engines.environment import find_environment
from torture.deaths import engine
from torture.deaths.house import MODELS


@pytest.mark.parametrize("model", MODELS)
def test_a_played_engine_is_found_as_the_real_one(model: str, tmp_path: Path):
    card = load_catalog().find(model)
    engine.play(tmp_path, card)
    found = find_environment(tmp_path, card.engine.name, card.engine.version)
    assert (found.build, found.version) == ("cpu", card.engine.version)
