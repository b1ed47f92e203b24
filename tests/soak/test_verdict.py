"""When a fleet has held."""

import pytest

from tests.soak.verdict import Afterwards, Honest, faults

QUIET = Honest(tuple(n / 100 for n in range(1, 101)))
TALLY = {"a": {"400": 3, "left": 1}, "b": {"200, 409 idempotency_in_progress": 1}}
AFTER = Afterwards(0, "every invariant holds", ())


def test_a_fleet_that_keeps_every_promise_has_no_fault():
    assert list(faults(QUIET, QUIET, TALLY, AFTER)) == []


def test_p95_is_the_latency_that_95_of_100_keep():
    assert QUIET.p95_s == 0.95


@pytest.mark.parametrize(
    ("abused", "tally", "after", "said"),
    [
        (Honest((3.0,)), TALLY, AFTER, "p95 was 3.00 s, 3.2 times"),
        (Honest(()), TALLY, AFTER, "no answer"),
        (Honest((0.1,), wrong=("'a' for 'b'",) * 2), TALLY, AFTER, "2 times this wrong answer: 'a' for 'b'"),
        (Honest((0.1,), errors=("503",)), TALLY, AFTER, "1 times this error: 503"),
        (QUIET, {"a": {"500 server_error": 2}}, AFTER, "a: 2 times 500 server_error"),
        (QUIET, {"a": {"200, 500": 1}}, AFTER, "a: 1 times 200, 500"),
        (QUIET, {"a": {}}, AFTER, "a: never got through a turn"),
        (QUIET, TALLY, Afterwards(1, "every invariant holds", ()), "1 holds stayed open"),
        (QUIET, TALLY, Afterwards(0, "P1 does not hold", ()), "the ledger: P1 does not hold"),
        (QUIET, TALLY, Afterwards(0, "every invariant holds", ("vLLM",)), "vLLM was started anew"),
    ],
)
def test_each_broken_promise_is_a_sentence(abused, tally, after, said):
    (fault,) = faults(QUIET, abused, tally, after)
    assert said in fault
