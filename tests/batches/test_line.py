"""One line: its name, when it is asked again, what is written down of it."""

import orjson
import pytest

from deployments.batches.line import Answered, Line, is_of_the_ledger, line_name, not_run, result_of, wait_s
from deployments.batches.tally import FAILED, Tally

LINE = Line(3, 0, 10, "a", "m")
USAGE = {
    "prompt_tokens": 46,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
    "cost_details": {"charged_nano": 5_000},
}


def test_a_line_has_one_name_and_no_other_has_it():
    """Whatever is in its custom id."""
    names = {line_name(batch, custom_id) for batch in ("batch_1", "batch_2") for custom_id in ("a", "b", "\nb", "")}
    assert len(names) == 8
    assert line_name("batch_1", "a") in names


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (200, {}, None),
        (400, {}, None),
        (401, {}, None),
        (409, {"retry-after": "1"}, 1.0),
        (429, {"retry-after": "37", "retry-after-ms": "36500"}, 37.0),
        (429, {"x-should-retry": "false"}, None),
        (500, {}, None),
        (503, {"retry-after": "5"}, 5.0),
        (503, {"retry-after": "1", "x-should-retry": "false"}, None),
        (503, {}, 1.0),
        (503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0),
        (503, {"retry-after": "-1"}, 0.0),
    ],
)
def test_what_passes_is_waited_for(status: int, headers: dict[str, str], wait: float | None):
    """And nothing else: a spent budget does not come back."""
    assert wait_s(Answered(status, headers, b"")) == wait


@pytest.mark.parametrize(
    ("status", "code", "is_it"),
    [(503, "ledger_unavailable", True), (503, "model_warming", False), (429, "rate_limit_exceeded", False)],
)
def test_the_ledger_may_refuse_one_line_alone(status: int, code: str, is_it: bool):
    """Models and limits refuse whoever comes."""
    assert is_of_the_ledger(Answered(status, {}, orjson.dumps({"error": {"code": code}}))) is is_it


def test_an_answer_is_written_down_as_openai_does():
    """And counted."""
    body = orjson.dumps({"id": "chatcmpl-1", "usage": USAGE})
    result = result_of("f" * 64, LINE, Answered(200, {"x-vlm-request-id": "r1"}, body))
    assert orjson.loads(result.record) == {
        "id": "batch_req_" + "f" * 32,
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "r1", "body": {"id": "chatcmpl-1", "usage": USAGE}},
        "error": None,
    }
    assert (result.number, result.ok, result.tally) == (3, True, Tally(1, 0, 46, 4, 3, 5_000))


def test_a_refusal_is_written_down_with_its_body():
    """It counts as failed."""
    result = result_of("f" * 64, LINE, Answered(400, {}, b'{"error":{"code":"x"}}'))
    assert orjson.loads(result.record)["response"] == {
        "status_code": 400,
        "request_id": None,
        "body": {"error": {"code": "x"}},
    }
    assert (result.ok, result.tally) == (False, FAILED)


def test_a_line_that_did_not_run_says_why():
    """There is no response."""
    result = not_run("f" * 64, LINE, "batch_expired", "Why.")
    record = orjson.loads(result.record)
    assert (record["response"], record["error"]) == (None, {"code": "batch_expired", "message": "Why."})
    assert not result.ok
