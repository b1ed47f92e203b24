"""The benchmark's report, from made-up rows."""

import pytest

from benchmarks import report
from benchmarks.report import Row, Table, percentile, render

SMALL_32 = ("224 px", "unary", 32)


def row(stack, *, number=1, clients=32, seconds=1.0, latencies_ms=(100.0, 100.0), cpu_ms=None, errors=None):
    latencies = list(latencies_ms)
    return Row(
        stack, number, "224 px", "unary", clients, max(2, len(latencies)), seconds, latencies, latencies, 0,
        errors or {}, cpu_ms or {"engine core": 20.0}, {"haproxy": 1.0},
    )  # fmt: skip


def test_percentile_is_by_nearest_rank():
    """Of four values, two do not exceed the second, and 99 % is all of them."""
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.99) == 4.0


def test_a_ratio_is_taken_within_its_round_before_the_median():
    """1/2, 2/2 and 8/10 of the bare engine's rate: the median is 0.8, whatever the rounds' own speeds."""
    rows = [
        row(stack, number=number, seconds=seconds)
        for number, bare_s, ours_s in ((1, 1.0, 2.0), (2, 1.0, 1.0), (3, 4.0, 5.0))
        for stack, seconds in (("bare", bare_s), ("vlmfleet", ours_s))
    ]
    assert Table(rows).ratio("vlmfleet", SMALL_32, lambda row: row.requests_per_s) == pytest.approx(0.8)


def test_a_round_without_the_bare_engine_gives_no_ratio():
    """Figures of different rounds are never compared."""
    rows = [row("bare", number=1), row("vlmfleet", number=2)]
    assert Table(rows).ratio("vlmfleet", SMALL_32, lambda row: row.requests_per_s) is None


def test_cpu_outside_the_engine_leaves_its_processes_out():
    """(6 + 4) ms over two requests; 1 ms of it each is idle: 1 ms/s for 2 s, over two requests."""
    ours = row("vlmfleet", seconds=2.0, cpu_ms={"engine worker": 30.0, "haproxy": 6.0, "gateway replica": 4.0})
    assert ours.cpu_ms_per_request == 20.0
    assert ours.cpu_ms_outside_engine == 5.0
    assert ours.cpu_ms_outside_engine_net == 4.0


def test_the_report_says_which_targets_are_met():
    """Half the bare engine's throughput is not enough; twice the peer's is."""
    rows = [row("bare"), row("ray.serve.llm", seconds=4.0), row("vlmfleet", seconds=2.0)]
    text = render(rows, {"commit": "abc"})
    assert "| throughput against the bare engine, 32 clients | >= 0.75 x | >= 0.85 x | 0.50 | NO |" in text
    assert "| throughput against ray.serve.llm, 32 clients | >= 1.4 x | >= 1.6 x | 2.00 | yes |" in text
    assert "| added p50, 1 client | <= 12 ms | <= 6 ms | - | - |" in text


def test_errors_are_shown_beside_the_figures():
    """A stack that refuses is fast: its errors stand in the same line."""
    text = render([row("bare"), row("vlmfleet", errors={"status 503": 2})], {})
    assert "| 32 | vlmfleet | 2.0 | 1.00 | 100.0 | 0.0 | 100.0 | 0.0 | 2 x status 503 |" in text


def test_a_case_of_errors_only_is_not_lost():
    """Nothing can be divided by no right answer, but the report still has to say that there was none."""
    broken = row("vlmfleet", latencies_ms=(), errors={"status 500": 2})
    assert "2 x status 500" in render([row("bare"), broken], {})


@pytest.mark.parametrize("target", report.TARGETS, ids=lambda target: target.what)
def test_an_aim_is_at_least_as_hard_as_its_target(target):
    """Reaching the aim means reaching the target."""
    assert target.met(target.aim)
