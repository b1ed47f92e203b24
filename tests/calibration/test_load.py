import pytest

from calibration.load import Load, Target, Unanswered, patience_s, replayed
from loadtests.record import Record
from loadtests.slo import Slo
from tests.calibration.scripted import right, serving

TOKENS = 5
REFUSAL = b'{"error": {"message": "too many requests"}}'


async def offered(url: str, number: int, patience_s: float = 30) -> list[Record]:
    async with Load(Target(url, "a key")) as load:
        return await load.offer([b"{}"] * number, [0.0] * number, TOKENS, patience_s)


async def test_an_answer_counts_if_it_is_whole():
    with serving(lambda number: (200, right(TOKENS))) as url:
        records = await offered(url, 3)
    assert [record.answer and record.answer.output_tokens for record in records] == [TOKENS] * 3


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ((429, REFUSAL), "status 429 too many requests"),
        ((500, b"<html>"), "status 500 "),
        ((200, right(TOKENS - 1)), "4 output tokens instead of 5"),
        ((200, right(TOKENS).removesuffix(b"data: [DONE]\n\n")), "the stream ended without [DONE]"),
        (None, "too slow"),
    ],
)
async def test_any_other_answer_is_a_failure_with_its_reason(answer: tuple[int, bytes] | None, failure: str):
    with serving(lambda number: answer) as url:
        (record,) = await offered(url, 1, patience_s=30 if answer else 0.1)
    assert (record.answer, record.failure) == (None, failure)


async def test_a_server_that_answers_nothing_right_is_told_at_once():
    """Before a search begins that could only fail."""
    with serving(lambda number: (401, b'{"error": {"message": "no such key"}}')) as url:
        async with Load(Target(url, "")) as load:
            with pytest.raises(Unanswered, match="no such key"):
                await load.warm_up([b"{}"] * 3, TOKENS)


def test_times_are_those_at_which_the_lines_came():
    first, last, done = (line for line in right(TOKENS).splitlines() if line)
    answer = replayed([(first, 120.0), (b"", 120.0), (last, 190.0), (done, 200.0)])
    assert (answer.ttft_ms, answer.e2e_ms, answer.tpot_ms) == (120, 200, 20)


def test_an_answer_is_left_when_it_has_missed_the_slo_for_certain():
    assert patience_s(Slo(ttft_ms=1000, tpot_ms=100), output_tokens=11) == 4
