from loadtests.page import page
from loadtests.record import Record
from loadtests.slo import Slo
from loadtests.stream import Measured
from loadtests.summary import summary

RECORDS = [
    Record(0.5, 1, 0, Measured(100, 200, 11, 50, 16, 1, 1e-5)),
    Record(1.5, 2, 0, Measured(300, 400, 11, 50, 16, 1, 3e-5)),
    Record(2.5, 3, 1, failure="429 <overloaded>"),
    Record(3.5, 4, 1, Measured(3000, 3100, 11, 50, 0, 0, 0.0)),
]


def test_figures_are_of_what_was_answered_and_goodput_of_what_was_due():
    found = summary(RECORDS, 4, 1, Slo())
    assert found["requests"] == {"due": 4, "answered": 3, "failures": {"429 <overloaded>": 1}}
    assert found["verdict"]["goodput"] == 0.5
    assert found["rates"]["goodput_requests_s"] == 0.5
    assert found["rates"]["images_s"] == 0.5
    assert found["usd_per_1k_images"] == 0.02
    assert found["ttft_ms"]["p50"] == 300
    assert found["tpot_ms"]["mean"] == 10


def test_a_run_without_answers_still_has_a_summary():
    found = summary([RECORDS[2]], 4, 1, Slo())
    assert found["ttft_ms"] == {}
    assert found["usd_per_1k_images"] is None


def test_the_page_shows_verdict_and_failures_and_escapes_them():
    shown = page(summary(RECORDS, 4, 1, Slo()), RECORDS, 0, 4, Slo(), "demo at 1 request/s")
    assert "Failed" in shown
    assert "429 &lt;overloaded&gt;" in shown
    assert shown.count("<svg") == 3


def test_a_record_survives_its_json():
    assert [Record.of(record.as_json()) for record in RECORDS] == RECORDS
