"""The governor's own process: what it keeps, and what it survives. What it decides: `test_control.py`."""

import shutil
from pathlib import Path

import pytest

from autoscaling.config import Config
from deployments.scaling.governor import Governor
from deployments.scaling.model import Member
from deployments.scaling.replicas import Serving
from tests.scaling.test_control import GPU

SERVING = Serving(("demo-0",), 1, 1, 8)


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        self.now_s += 61.0
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A minute passes whenever it is looked at."""
    clock = Clock()
    monkeypatch.setattr("deployments.scaling.governor.time.time", clock)
    return clock


def governor(folder: Path) -> Governor:
    return Governor([Member("demo", GPU, 120.0)], None, Config(), folder / "scaling.jsonl")


def times(governor: Governor) -> list[float]:
    return [row["at_s"] for row in governor.explain("demo", None, 100)["rows"]]


def test_rows_outlive_the_process(tmp_path: Path):
    """Which may die at any time."""
    dies = governor(tmp_path)
    for _ in range(3):
        dies.decide("demo", SERVING)
    next_one = governor(tmp_path)
    assert len(times(dies)) == 3
    assert times(next_one) == times(dies)


def test_a_folder_that_cannot_be_used_costs_no_start(tmp_path: Path):
    """Nothing is remembered then, and decided all the same."""
    (tmp_path / "state").write_text("no folder")
    governs = governor(tmp_path / "state")
    assert governs.decide("demo", SERVING) == 1


def test_a_full_disk_costs_no_decision(tmp_path: Path):
    """Rows are still explained as long as the process lives."""
    folder = tmp_path / "state"
    governs = governor(folder)
    shutil.rmtree(folder)
    folder.write_text("no folder any more")
    assert [governs.decide("demo", SERVING) for _ in range(3)] == [1, 1, 1]
    assert len(times(governs)) == 3
