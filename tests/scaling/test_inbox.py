"""Gateways that report, fall silent, start anew and come back; no clock but the test's."""

import pytest

from deployments.scaling.inbox import FORGOTTEN_S, SILENT_S, Inbox
from deployments.scaling.report import Counts, Levels, Report

MODEL = "demo"


def report(
    sequence: int, work_s: float, epoch: str = "a", sender: str = "gw", age_s: float = 1.0, backlog_s: float = 0.0
):
    counts = Counts(arrived_work_s=work_s, arrived_requests=work_s, met=work_s)
    return Report(sender, epoch, sequence, age_s, {MODEL: counts}, {MODEL: Levels(backlog_work_s=backlog_s)})


def steady(seconds: int, senders: tuple[str, ...] = ("gw",)) -> Inbox:
    """One replica-second a second from each gateway, read every second."""
    inbox = Inbox(0.0)
    for second in range(1, seconds + 1):
        for sender in senders:
            inbox.take(report(second, float(second), sender=sender, age_s=float(second)), float(second))
        inbox.read(float(second))
    return inbox


def work_s(inbox: Inbox, now_s: float) -> float | None:
    flows = inbox.read(now_s)[MODEL].flows
    return None if flows is None else flows.arrived_work_s


def test_flows_are_what_came_since_the_last_reading():
    inbox = steady(3)
    inbox.take(report(4, 10.0), 4.0)
    assert work_s(inbox, 4.0) == pytest.approx(7.0)
    assert work_s(inbox, 5.0) == 0.0


def test_a_lost_report_costs_freshness_only():
    inbox = steady(3)
    assert work_s(inbox, 4.0) == 0.0
    inbox.take(report(5, 5.0), 5.0)
    assert work_s(inbox, 5.0) == pytest.approx(2.0)


def test_a_gateway_whose_report_is_due_is_taken_to_go_on_as_before():
    inbox = steady(10)
    seen = [work_s(inbox, 10.0 + second) for second in range(1, 6)]
    assert seen == pytest.approx([0.0, 1.0, 1.0, 1.0, 1.0])
    inbox.take(report(16, 16.0), 16.0)
    assert sum(seen) + work_s(inbox, 16.0) == pytest.approx(6.0)


def test_a_guess_that_was_too_high_is_taken_off_later_reports():
    inbox = steady(10)
    seen = [work_s(inbox, 10.0 + second) for second in range(1, 6)]
    for second in range(16, 30):
        inbox.take(report(second, 10.0 + (second - 15)), float(second))
        seen.append(work_s(inbox, float(second)))
    assert sum(seen) == pytest.approx(14.0)


def test_a_report_that_was_overtaken_changes_nothing():
    inbox = steady(3)
    inbox.take(report(5, 5.0), 4.0)
    inbox.take(report(4, 4.0), 4.5)
    assert work_s(inbox, 5.0) == pytest.approx(2.0)


def test_a_gateway_that_starts_anew_counts_from_zero():
    inbox = steady(3)
    inbox.take(report(1, 2.0, epoch="b", age_s=1.0), 4.0)
    assert work_s(inbox, 4.0) == pytest.approx(2.0)


def test_what_a_gateway_counted_before_anybody_listened_did_not_arrive_now():
    inbox = Inbox(1000.0)
    inbox.take(report(500, 400.0, age_s=500.0), 1001.0)
    assert work_s(inbox, 1001.0) == 0.0
    inbox.take(report(501, 403.0, age_s=501.0), 1002.0)
    assert work_s(inbox, 1002.0) == pytest.approx(3.0)


def test_the_load_of_a_silent_gateway_fades_while_another_is_heard():
    inbox = steady(10, ("gw", "silent"))
    flows = []
    for second in range(11, 200):
        inbox.take(report(second, float(second)), float(second))
        flows.append(work_s(inbox, float(second)))
    guesses = [flow - 1.0 for flow in flows[1 : int(FORGOTTEN_S) - 1]]
    assert guesses[0] == pytest.approx(1.0, abs=0.1)
    assert guesses == sorted(guesses, reverse=True)
    assert sum(guesses) < 40.0
    assert flows[-1] == 1.0


def test_what_was_guessed_of_a_silent_gateway_is_taken_off_what_it_reports_when_it_is_back():
    inbox = steady(10, ("gw", "silent"))
    total = 0.0
    for second in range(11, 31):
        inbox.take(report(second, float(second)), float(second))
        total += work_s(inbox, float(second))
    inbox.take(report(30, 30.0, sender="silent"), 30.5)
    assert total + work_s(inbox, 31.0) == pytest.approx(2 * 20.0)


def test_only_arrivals_are_guessed():
    """Whether they met their SLO is not."""
    inbox = steady(10, ("gw", "silent"))
    for second in range(11, 21):
        inbox.take(report(second, float(second)), float(second))
        flows = inbox.read(float(second))[MODEL].flows
    assert flows.arrived_work_s > flows.met == 1.0


def test_nothing_heard_is_not_no_load():
    inbox = steady(3)
    reading = inbox.read(3.0 + SILENT_S + 1)[MODEL]
    assert (reading.flows, reading.levels) == (None, None)
    assert reading.age_s == SILENT_S + 1


def test_a_model_that_nobody_serves_has_no_reading():
    assert Inbox(0.0).read(1.0) == {}


def test_levels_add_up_over_gateways():
    inbox = steady(3)
    inbox.take(report(4, 4.0, backlog_s=2.0), 4.0)
    inbox.take(report(1, 0.0, sender="other", backlog_s=3.0), 4.0)
    assert inbox.read(4.0)[MODEL].levels.backlog_work_s == 5.0
