import pytest

from loadtests.record import Record
from loadtests.slo import Slo, parse_slo, verdict
from loadtests.stream import Measured

SLO = Slo(ttft_ms=200, tpot_ms=20, goodput_min=0.75)
GOOD = Record(0, 1, 0, Measured(200, 280, output_tokens=5))


@pytest.mark.parametrize(
    ("record", "met"),
    [
        (GOOD, True),
        (Record(0, 1, 0, Measured(201, 250, 5)), False),
        (Record(0, 1, 0, Measured(200, 281, 5)), False),
        (Record(0, 1, 0, failure="429 overloaded"), False),
    ],
)
def test_a_request_meets_the_slo_if_all_of_its_answer_does(record: Record, met: bool):
    assert SLO.met(record) is met


def test_refused_requests_count_as_missed():
    failed = Record(0, 1, 0, failure="429 overloaded")
    assert verdict([GOOD, GOOD, GOOD, failed], 1, SLO).passed
    assert "50.0%" in verdict([GOOD, GOOD, failed, failed], 1, SLO).why[0]


def test_a_load_generator_that_is_late_fails_the_run():
    assert "load generator" in verdict([GOOD], 11, SLO).why[0]


def test_a_run_without_requests_does_not_pass():
    assert not verdict([], 0, SLO).passed


def test_an_slo_is_written_in_milliseconds():
    assert parse_slo("ttft=200, tpot=20", 0.75) == SLO


@pytest.mark.parametrize("text", ["ttft", "ttft=x", "e2e=5", "ttft=-1", ""])
def test_another_slo_is_refused(text: str):
    with pytest.raises(ValueError, match="looks like"):
        parse_slo(text, 0.99)
