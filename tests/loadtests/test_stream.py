import json
from collections.abc import Iterator
from itertools import count

import pytest

from loadtests.stream import BadAnswer, Measured, measure

USAGE = {
    "completion_tokens": 5,
    "prompt_tokens": 40,
    "images": 1,
    "cost": 1e-5,
    "prompt_tokens_details": {"image_tokens": 16},
}


def event(**chunk: object) -> bytes:
    return b"data: " + json.dumps({"choices": []} | chunk).encode() + b"\r\n"


def says(text: str) -> bytes:
    return event(choices=[{"delta": {"content": text}}])


ROLE = event(choices=[{"delta": {"role": "assistant", "content": ""}}])
LAST = event(usage=USAGE)
DONE = b"data: [DONE]\r\n"


def clock() -> Iterator[float]:
    return (10.0 * tick for tick in count(1))


def test_times_are_of_the_first_content_and_the_end():
    ticks = clock()
    assert measure([ROLE, b"\r\n", says("red"), says(" circle"), LAST, DONE], lambda: next(ticks)) == Measured(
        10, 20, output_tokens=5, input_tokens=40, vision_tokens=16, images=1, cost_usd=1e-5
    )


def test_tpot_is_the_mean_of_the_tokens_after_the_first():
    assert Measured(100, 500, output_tokens=5).tpot_ms == 100
    assert Measured(100, 100, output_tokens=1).tpot_ms == 0


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([says("red"), LAST], "without"),
        ([LAST, DONE], "no content"),
        ([says("red"), DONE], "no usage"),
        ([says("red"), event(error={"code": "server_error"}), DONE], "server_error"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(lines: list[bytes], why: str):
    with pytest.raises(BadAnswer, match=why):
        measure(lines, lambda: 1.0)
