"""The governor's decisions, second by second, without Ray and without a clock."""

import pytest

from autoscaling.config import Config
from autoscaling.offer import Offer
from autoscaling.pool import Pool
from autoscaling.season import Season
from deployments.scaling.control import Control
from deployments.scaling.model import STALE_S, Member
from deployments.scaling.replicas import Serving
from deployments.scaling.report import Counts, Levels, Report

GPU = Offer("A100", 1, 1_000_000_000)
CONFIG = Config()


class Fleet:
    """A governor's mind, Serve as it obeys, and one gateway. Starts take no time."""

    def __init__(self, models: tuple[str, ...] = ("demo",), pool: Pool | None = None, replicas_min: int = 0) -> None:
        self.now_s = 1_000_000.0
        self.control = Control([Member(model, GPU, 120.0) for model in models], pool, CONFIG, self.now_s, {})
        self.replicas_min = replicas_min
        self.have = dict.fromkeys(models, 0)
        self.counts = dict.fromkeys(models, Counts())
        self.sequence = 0

    def second(self, work_s: dict[str, float] | None = None, levels: dict[str, Levels] | None = None) -> None:
        self.now_s += 1.0
        for model in self.have:
            self.see(model)
        if work_s is not None:
            self.sequence += 1
            for model, work in work_s.items():
                self.counts[model] = self.counts[model].plus(Counts(arrived_work_s=work, arrived_requests=1))
            standing = dict.fromkeys(self.have, Levels()) | (levels or {})
            age_s = float(self.sequence)
            self.control.report(Report("gw", "a", self.sequence, age_s, dict(self.counts), standing), self.now_s)
        self.control.tick(self.now_s)
        for model in self.have:
            if verdict := self.control.verdict(model):
                self.have[model] = verdict.replicas

    def see(self, model: str) -> None:
        running = tuple(f"{model}-{index}" for index in range(self.have[model]))
        self.control.see(model, Serving(running, len(running), self.replicas_min, 8), self.now_s)

    def seconds(self, count: int, work_s: dict[str, float] | None) -> None:
        for _ in range(count):
            self.second(work_s)


def test_the_first_request_starts_a_replica():
    fleet = Fleet()
    fleet.seconds(3, {})
    assert fleet.have == {"demo": 0}
    fleet.second({}, {"demo": Levels(backlog_work_s=0.5, oldest_wait_s=1.0)})
    assert fleet.have["demo"] == 1


def test_work_is_what_replicas_are_for():
    fleet = Fleet()
    fleet.seconds(120, {"demo": 2.5})
    assert fleet.have["demo"] >= 3


def test_gateways_that_fall_silent_take_nothing_away():
    fleet = Fleet()
    fleet.seconds(400, {"demo": 2.5})
    fleet.seconds(10, None)
    before = fleet.have["demo"]
    assert fleet.control.rows.latest()[0].facts.blind
    fleet.seconds(300, None)
    assert fleet.have["demo"] >= before


def test_a_model_at_zero_of_which_no_gateway_speaks_stays_there():
    """When a fleet starts, gateways come last."""
    fleet = Fleet()
    fleet.seconds(10, None)
    assert (fleet.have["demo"], fleet.control.verdict("demo")) == (0, None)


def test_nothing_is_decided_about_what_serve_is_silent():
    fleet = Fleet()
    fleet.seconds(5, {"demo": 2.5})
    last = fleet.control.rows.latest()
    fleet.now_s += STALE_S + 1
    fleet.control.tick(fleet.now_s)
    assert fleet.control.rows.latest() == last


def test_the_governor_ticks_once_a_second_whoever_calls():
    fleet = Fleet()
    assert fleet.control.tick(fleet.now_s + 1.0)
    assert not fleet.control.tick(fleet.now_s + 1.5)
    assert fleet.control.tick(fleet.now_s + 2.0)


def test_grants_never_exceed_the_pool():
    fleet = Fleet(("one", "two"), Pool({"A100": 3}))
    for _ in range(200):
        fleet.second({"one": 2.5, "two": 2.5})
        assert sum(fleet.have.values()) <= 3
    assert sum(fleet.have.values()) == 3


def test_a_ceiling_in_dollars_bounds_as_well():
    fleet = Fleet(("one", "two"), Pool({"A100": 100}, hourly_nano_usd=2_000_000_000))
    fleet.seconds(200, {"one": 2.5, "two": 2.5})
    assert sum(fleet.have.values()) == 2


def test_floors_hold():
    fleet = Fleet(("one", "two"), Pool({"A100": 3}), replicas_min=1)
    fleet.seconds(200, {"one": 6.0})
    assert fleet.have == {"one": 2, "two": 1}


def test_what_a_model_holds_of_which_serve_has_not_spoken_is_not_given_away():
    """The first seconds of a governor that starts anew."""
    fleet = Fleet(("one", "two"), Pool({"A100": 2}))
    for second in range(1, 4):
        fleet.control.see("one", Serving((), 0, 0, 8), fleet.now_s + second)
        fleet.control.tick(fleet.now_s + second)
    assert fleet.control.verdict("one") is None


def test_batch_work_gets_a_replica_of_its_own_where_nothing_else_runs():
    fleet = Fleet()
    fleet.second({})
    fleet.second({}, {"demo": Levels(batch_backlog_work_s=1500.0)})
    verdict = fleet.control.verdict("demo")
    assert (verdict.batch, verdict.replicas) == (3, 3)
    assert fleet.control.rows.latest()[0].words.endswith("3 more for batch work")


def test_batch_work_gets_only_what_is_left():
    fleet = Fleet(("one", "two"), Pool({"A100": 2}))
    fleet.seconds(20, {"one": 0.5})
    fleet.second({"one": 0.5}, {"two": Levels(batch_backlog_work_s=10_000.0)})
    assert fleet.have == {"one": 1, "two": 1}


def test_every_decision_can_be_made_again_from_its_row():
    fleet = Fleet(("one", "two"), Pool({"A100": 3}))
    for second in range(300):
        fleet.second({"one": second / 100, "two": 1.0})
        for row in fleet.control.rows.latest():
            assert row.replay(CONFIG) == row.answer


@pytest.mark.parametrize("running", [0, 2])
def test_a_gateway_hears_whether_a_model_runs(running: int):
    fleet = Fleet()
    fleet.have["demo"] = running
    fleet.see("demo")
    news = fleet.control.report(Report("gw", "a", 1, 1.0, {}, {}), fleet.now_s)["demo"]
    assert (news.running, news.expected_start_s) == (running, 120.0)


def test_of_a_model_that_serve_has_not_spoken_of_nothing_is_said():
    fleet = Fleet()
    assert fleet.control.report(Report("gw", "a", 1, 1.0, {}, {}), fleet.now_s)["demo"].running is None


def test_the_season_of_earlier_days_is_where_a_new_governor_begins():
    season = Season.none().arrive(0.0, 0.0, 1.0)
    control = Control([Member("demo", GPU, 120.0)], None, CONFIG, 0.0, {"demo": season})
    control.see("demo", Serving((), 1, 0, 8), 1.0)
    control.tick(1.0)
    assert control._models["demo"].state.season.rates.tolist() == season.rates.tolist()


def test_what_waits_goes_before_what_may_come_again():
    """One model's burst is over, but remembered; another's is here, and gets a GPU within seconds."""
    fleet = Fleet(("after", "burst"), Pool({"A100": 4}), replicas_min=1)
    fleet.seconds(60, {"after": 0.3, "burst": 0.3})
    fleet.seconds(200, {"after": 2.2, "burst": 0.3})
    assert fleet.have == {"after": 3, "burst": 1}

    for _ in range(10):
        fleet.control.exist(set())  # what was given back has ended
        fleet.second({"after": 0.3, "burst": 2.2}, {"burst": Levels(backlog_work_s=8.0, oldest_wait_s=4.0)})
    assert fleet.have == {"after": 2, "burst": 2}
