from pathlib import Path

from autoscaling.season import DAY_S
from deployments.scaling.history import MINUTE_S, History


def write_hour(history: History, from_s: float, rate: float) -> None:
    for minute in range(60):
        history.write(from_s + minute * MINUTE_S, {"demo": rate})


def test_the_season_outlives_the_process(tmp_path: Path):
    file = tmp_path / "scaling.jsonl"
    assert History(file).seasons(0.0) == {}
    write_hour(History(file), 9 * 3600.0, rate=2.0)
    season = History(file).seasons(DAY_S)["demo"]
    assert season.ahead(DAY_S + 9 * 3600.0, 60.0) == 2.0
    assert season.ahead(DAY_S + 15 * 3600.0, 60.0) == 0.0


def test_a_line_that_broke_off_is_passed_over(tmp_path: Path):
    file = tmp_path / "scaling.jsonl"
    History(file).seasons(0.0)
    write_hour(History(file), 9 * 3600.0, rate=2.0)
    file.write_text(file.read_text() + '[36000, "de')
    assert History(file).seasons(DAY_S)["demo"].ahead(DAY_S + 9 * 3600.0, 60.0) == 2.0


def test_what_is_too_old_is_forgotten(tmp_path: Path):
    file = tmp_path / "scaling.jsonl"
    History(file).seasons(0.0)
    write_hour(History(file), 0.0, rate=2.0)
    assert History(file).seasons(30 * DAY_S) == {}
    assert file.read_text() == ""
