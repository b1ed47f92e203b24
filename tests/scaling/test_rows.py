from dataclasses import replace

from autoscaling.config import Config
from autoscaling.observation import Observation
from autoscaling.policy import WorkPolicy
from autoscaling.row import Row
from deployments.scaling.rows import Rows

CONFIG = Config()
SEEN = Observation(0.0, 0.0, 0, None, None, 0, 0, 0.0, 0.0, 0.0, 0.0, running=1, replicas_min=1, replicas_max=8)


def row(at_s: float, running: int = 1, model: str = "demo") -> Row:
    decision = WorkPolicy(CONFIG).decide(replace(SEEN, now_s=at_s, running=running), None)
    return Row.of(at_s, model, decision, CONFIG)


def test_a_row_is_kept_for_each_change_and_one_a_minute():
    rows = Rows()
    kept = [at_s for at_s in range(150) if rows.add(row(float(at_s), running=2 if at_s >= 70 else 1))]
    assert kept == [0, 60, 70, 130]


def test_the_latest_is_shown_even_if_nothing_has_changed():
    rows = Rows()
    rows.add(row(0.0))
    rows.add(row(7.0))
    assert [one.at_s for one in rows.of("demo", None, limit=10)] == [7.0, 0.0]
    assert [one.at_s for one in rows.latest()] == [7.0]


def test_of_the_past_the_newest_come_first():
    rows = Rows()
    for at_s in (0.0, 60.0, 120.0):
        rows.add(row(at_s))
        rows.add(row(at_s, model="other"))
    assert [one.at_s for one in rows.of("demo", 100.0, limit=10)] == [60.0, 0.0]
    assert [one.at_s for one in rows.of("demo", None, limit=1)] == [120.0]
    assert rows.of("nobody", None, limit=1) == []


def test_the_oldest_make_room():
    rows = Rows(kept=2)
    for at_s in (0.0, 60.0, 120.0):
        rows.add(row(at_s))
    assert [one.at_s for one in rows.of("demo", None, limit=10)] == [120.0, 60.0]


def test_rows_of_a_governor_before_are_past_and_nobodys_latest():
    """What it knew is not what is."""
    rows = Rows([row(0.0), row(60.0)])
    assert [one.at_s for one in rows.of("demo", None, limit=10)] == [60.0, 0.0]
    assert rows.latest() == []
    assert rows.take_new() == []


def test_new_rows_are_handed_out_once():
    rows = Rows()
    for at_s in (0.0, 1.0, 60.0):
        rows.add(row(at_s))
    assert [one.at_s for one in rows.take_new()] == [0.0, 60.0]
    assert rows.take_new() == []
