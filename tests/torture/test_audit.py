"""An auditor that sees nothing wrong proves nothing: each kind of wrong has to be found."""

import pytest

from accounting.command import Outcome
from torture.audit import Rates, Row, Verdict, judge
from torture.client import Try, Witness
from torture.plan import Client, Habit, Role

RATES = Rates(base_nano=100, token_nano=10)
HOLD_NANO = 160
NOBODY: frozenset[Role] = frozenset()
GATEWAY = frozenset({Role.GATEWAY})


def row(outcome: Outcome, charged_nano: int, request_id: str = "r") -> Row:
    return Row(request_id, "client-1", outcome, HOLD_NANO, charged_nano)


def witness(*tries: Try, habit: Habit = Habit.WAITS) -> Witness:
    return Witness(Client("client-1", habit, streams=True, starts_after_s=0), list(tries))


PAID = row(Outcome.COMPLETE, 160)
PART = row(Outcome.CLIENT_LEFT, 130)
FREE = row(Outcome.ENGINE_FAILED, 0)
WITHHELD = Row("r", "client-1", Outcome.COMPLETE, HOLD_NANO, 0, 160)
EXPIRED = row(Outcome.EXPIRED, 0)
WHOLE = Try(status=200, request_id="r", chunks=7, whole=True, finish="length", told_nano=160)
PART_AS_WHOLE = Try(status=200, request_id="r", chunks=4, whole=True)
LEFT = Try(status=200, request_id="r", chunks=4, left=True)
CUT_OFF = Try(status=200, request_id="r", chunks=4)
NOTHING = Try()


@pytest.mark.parametrize(
    ("ledger", "seen", "died", "verdict"),
    [
        (PAID, WHOLE, NOBODY, Verdict.PAID),
        (PART, LEFT, NOBODY, Verdict.LEFT),
        (PAID, LEFT, NOBODY, Verdict.LEFT_LATE),
        (PAID, CUT_OFF, GATEWAY, Verdict.END_LOST),
        (PAID, NOTHING, GATEWAY, Verdict.UNSEEN),
        (PAID, Try(left=True), NOBODY, Verdict.UNSEEN),
        (FREE, CUT_OFF, NOBODY, Verdict.FREE),
        (EXPIRED, LEFT, GATEWAY, Verdict.FREE),
        (WITHHELD, CUT_OFF, NOBODY, Verdict.FREE),
    ],
)
def test_what_money_md_allows_has_a_name(ledger: Row, seen: Try, died: frozenset[Role], verdict: Verdict):
    judgement = judge([witness(seen)], [ledger], RATES, died)
    assert judgement.verdicts == {verdict: 1}
    assert judgement.faults == ()


@pytest.mark.parametrize(
    ("ledger", "seen", "what"),
    [
        ([EXPIRED], WHOLE, "saw all of r, which is expired"),
        ([WITHHELD], WHOLE, "saw all of r, which is complete"),
        ([PART], PART_AS_WHOLE, "was told a part of r as all of it"),
        ([PAID], PART_AS_WHOLE, "was told a part of r as all of it"),
        ([], WHOLE, "saw bytes of r, which the ledger does not know"),
        ([PAID], CUT_OFF, "r is complete, for no reason"),
        ([PAID], NOTHING, "r is complete, for no reason"),
        ([PART], CUT_OFF, "r is client_left, for no reason"),
        ([PART], NOTHING, "r is client_left, for no reason"),
        ([FREE], LEFT, "left r after 3 tokens, which is engine_failed"),
        ([row(Outcome.COMPLETE, 150)], WHOLE, "r cost 150, the client was told {160}"),
        ([row(Outcome.CLIENT_LEFT, 120)], LEFT, "r cost 120, for 3 tokens seen"),
        ([row(Outcome.CLIENT_LEFT, 170)], LEFT, "cost 170 of 160"),
        ([row(Outcome.ENGINE_FAILED, 1)], CUT_OFF, "cost 1 of 160"),
        ([PAID, row(Outcome.COMPLETE, 160, "other")], WHOLE, "other is complete, for no reason"),
    ],
)
def test_what_money_md_does_not_allow_is_a_fault(ledger: list[Row], seen: Try, what: str):
    faults = judge([witness(seen)], ledger, RATES, NOBODY).faults
    assert any(what in fault for fault in faults), faults


def test_an_idempotency_key_that_paid_twice_is_a_fault():
    ledger = [PAID, row(Outcome.COMPLETE, 160, "other")]
    (fault,) = judge([witness(WHOLE, NOTHING, habit=Habit.RETURNS)], ledger, RATES, GATEWAY).faults
    assert "one idempotency key paid" in fault


def test_an_idempotency_key_pays_for_what_it_left_and_for_one_whole_answer():
    ledger = [row(Outcome.CLIENT_LEFT, 130, "first"), PAID]
    left = Try(status=200, request_id="first", chunks=4, left=True)
    judgement = judge([witness(left, WHOLE, habit=Habit.RETURNS)], ledger, RATES, NOBODY)
    assert judgement.faults == ()


def test_an_idempotency_key_that_paid_for_an_answer_it_cannot_have_is_a_fault():
    (fault,) = judge([witness(CUT_OFF, habit=Habit.RETURNS)], [PAID], RATES, GATEWAY).faults
    assert "one idempotency key paid" in fault
