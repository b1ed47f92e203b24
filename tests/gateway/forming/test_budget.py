"""The budget against answers that begin early or late."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.forming.budget import CUT, FLOOR_TOKENS, START_TOKENS, STEP_TOKENS, Answered, Budget, DrainRate

TARGET_MS = 2000.0


def answered(
    took_s: float, *, asked_s: float = 0.0, tokens: int = 1000, in_flight: int = 100_000, limited: bool = True
) -> Answered:
    return Answered(tokens, asked_s, asked_s + took_s, TARGET_MS, in_flight, limited)


def learnt(*answers: Answered, replicas: int = 1) -> float:
    budget = Budget()
    for answer in answers:
        budget.learn(answer, replicas)
    return budget.tokens


def test_it_doubles_until_the_first_late_answer():
    """A budget's worth of answers in time, while others wait."""
    assert learnt(answered(0.1, tokens=int(START_TOKENS))) == 2 * START_TOKENS


def test_then_it_grows_by_a_step_for_each_budget_of_answers():
    cut = CUT * START_TOKENS
    assert learnt(answered(5.0), answered(0.1, asked_s=9.0, tokens=int(cut))) == pytest.approx(cut + STEP_TOKENS, abs=1)


def test_it_does_not_grow_while_nobody_waits():
    """Unused room proves nothing."""
    assert learnt(answered(0.1, limited=False)) == START_TOKENS


def test_a_quarter_of_the_target_is_the_engines():
    assert learnt(answered(0.99 * TARGET_MS / 4000)) > START_TOKENS
    assert learnt(answered(1.01 * TARGET_MS / 4000)) < START_TOKENS


GROWN = answered(0.1, tokens=8000)


def test_requests_that_were_late_together_cut_it_once():
    """What was asked before the cut was late for the same reason; what was asked after it is news."""
    one = [GROWN, answered(5.0)]
    assert learnt(*one, answered(5.0, asked_s=4.0)) == learnt(*one)
    assert learnt(*one, answered(5.0, asked_s=6.0)) == pytest.approx(CUT * learnt(*one))


def test_it_is_cut_from_what_was_in_use():
    assert learnt(GROWN, answered(5.0, in_flight=4000)) == CUT * 4000


def test_replicas_share_what_is_in_flight():
    assert learnt(GROWN, GROWN, answered(5.0, in_flight=8000), replicas=2) == CUT * 4000


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(1, 20_000), st.integers(0, 10**6)), max_size=100))
def test_one_request_always_finds_room(answers: list[tuple[float, int, int]]):
    """Whatever the engine does, the budget stays above zero."""
    late = [answered(took_s, asked_s=100.0 * i, tokens=t, in_flight=n) for i, (took_s, t, n) in enumerate(answers)]
    assert learnt(*late) >= FLOOR_TOKENS


def test_the_drain_rate_is_that_of_the_time_in_which_others_waited():
    rate = DrainRate()
    for second in range(11):
        rate.left(500, float(second), others_wait=True)
    rate.left(10**6, 11.0, others_wait=False)
    assert rate.tokens_per_s == 500


def test_a_model_with_room_to_spare_has_no_drain_rate():
    """How fast it could be is not known from how little it is asked."""
    rate = DrainRate()
    for second in range(10):
        rate.left(500, float(second), others_wait=False)
    assert rate.tokens_per_s is None
