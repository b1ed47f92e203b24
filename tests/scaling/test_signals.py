"""One gateway's view of its load."""

from dataclasses import dataclass

import pytest

from accounting.price import ImageWork, Work
from catalog import load_catalog
from catalog.card import WorkCost
from deployments.gateway.errors import BadRequest, EngineFailed
from deployments.scaling.signals import ModelLoad, Signals

CARD = load_catalog().find("demo-qwen2-vl")
COSTS = WorkCost(request_s=1.0, patch_s=0.001, vision_token_s=0.01, text_token_s=0.001, output_token_s=0.1)
PRICED = CARD.model_copy(update={"autoscaling": CARD.autoscaling.model_copy(update={"work": COSTS})})
WORK = Work(images=(ImageWork(100, 400),), text_tokens=400, output_tokens=20)
WORK_S = 1.0 + 0.4 + 1.0 + 0.1 + 0.1 * 20 * 0.5  # half of what it may answer, before answers were seen


@dataclass
class Clock:
    s: float = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def load(clock: Clock) -> ModelLoad:
    return Signals(clock_s=clock).of(PRICED)


def test_work_is_priced_before_it_is_queued(load: ModelLoad):
    with load.visit(WORK, is_batch=False):
        assert load.counts.arrived_work_s == pytest.approx(WORK_S)
        assert (load.counts.arrived_requests, load.counts.arrived_images) == (1, 1)


def test_a_request_waits_then_runs_then_is_finished(load: ModelLoad, clock: Clock):
    with load.visit(WORK, is_batch=False) as visit:
        clock.s = 3.0
        assert (load.levels().backlog_work_s, load.levels().oldest_wait_s) == (pytest.approx(WORK_S), 3.0)
        visit.dispatched()
        assert (load.levels().backlog_work_s, load.levels().in_flight_work_s) == (0.0, pytest.approx(WORK_S))
        visit.began()
    assert load.levels().in_flight_work_s == 0.0
    assert load.counts.finished_work_s == pytest.approx(WORK_S)


@pytest.mark.parametrize(("after_s", "met"), [(2.0, 1), (2.1, 0)])
def test_the_first_token_is_in_time_or_late(load: ModelLoad, clock: Clock, after_s: float, met: int):
    """2 s, and 0.25 ms for each of 100 vision tokens."""
    with load.visit(WORK, is_batch=False) as visit:
        visit.dispatched()
        clock.s = after_s
        visit.began()
        clock.s = 100.0
        visit.began()
    assert (load.counts.met, load.counts.missed) == (met, 1 - met)


@pytest.mark.parametrize(("error", "missed"), [(EngineFailed(), 1), (BadRequest("no"), 0), (OSError(), 1)])
def test_a_failure_of_ours_misses_the_slo_and_one_of_the_caller_does_not(
    load: ModelLoad, error: Exception, missed: int
):
    with pytest.raises(type(error)), load.visit(WORK, is_batch=False) as visit:  # noqa: PT012  # what a request does
        visit.dispatched()
        raise error
    assert (load.counts.missed, load.counts.finished_work_s, load.levels().in_flight_work_s) == (missed, 0.0, 0.0)


@pytest.mark.parametrize(("after_s", "missed"), [(1.0, 0), (5.0, 1)])
def test_a_client_that_leaves_in_time_missed_nothing(load: ModelLoad, clock: Clock, after_s: float, missed: int):
    with pytest.raises(KeyboardInterrupt), load.visit(WORK, is_batch=False):  # noqa: PT012  # what a request does
        clock.s = after_s
        raise KeyboardInterrupt
    assert (load.counts.missed, load.levels().backlog_work_s) == (missed, 0.0)


def test_who_agreed_to_wait_for_a_start_missed_nothing(load: ModelLoad, clock: Clock):
    with load.visit(WORK, is_batch=False) as visit:
        clock.s = 90.0
        visit.agreed_to_wait()
        visit.dispatched()
        visit.began()
    assert (load.counts.met, load.counts.missed) == (0, 0)


def test_batch_work_is_apart(load: ModelLoad, clock: Clock):
    with load.visit(WORK, is_batch=True) as visit:
        clock.s = 3600.0
        levels = load.levels()
        assert (levels.backlog_work_s, levels.oldest_wait_s) == (0.0, 0.0)
        assert levels.batch_backlog_work_s == pytest.approx(WORK_S)
        visit.dispatched()
        visit.began()
    counts = load.counts
    assert (counts.arrived_work_s, counts.arrived_requests, counts.met + counts.missed) == (0.0, 0, 0)
    assert counts.arrived_batch_work_s == pytest.approx(WORK_S)


def test_a_refused_request_is_demand(load: ModelLoad):
    load.refused(WORK, is_batch=False, is_missed=True)
    assert load.counts.arrived_work_s == pytest.approx(WORK_S)
    assert load.counts.missed == 1
    assert load.levels().backlog_work_s == 0.0


def test_the_length_of_answers_is_learnt(load: ModelLoad):
    for _ in range(200):
        with load.visit(WORK, is_batch=False) as visit:
            visit.dispatched()
            visit.produced(2)
    assert load.work_s(WORK) == pytest.approx(WORK_S - 0.1 * 20 * 0.4, rel=0.01)


def test_a_model_that_was_asked_nothing_reports_zero():
    """Which the governor tells from a model that nobody reports."""
    signals = Signals([CARD])
    assert signals.counts()[CARD.served_name].arrived_requests == 0
    assert signals.levels()[CARD.served_name].backlog_work_s == 0.0
