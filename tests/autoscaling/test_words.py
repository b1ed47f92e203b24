from dataclasses import replace
from typing import Any

import pytest

from autoscaling.config import Config
from autoscaling.facts import NEVER_S, Answer
from autoscaling.words import sentence
from tests.autoscaling.test_row import row

FACTS = replace(row([1.0] * 10).facts, idle_s=0.0, margin=1.24, hold_s=3600.0, running=1, pending=0)
ANSWER = Answer(arrival=2.1, backlog=0.0, floor=1, want=3, replicas=3)


def said(facts: dict[str, Any], answer: dict[str, Any]) -> str:
    return sentence(replace(FACTS, **facts), replace(ANSWER, **answer), Config()).partition(";")[0]


@pytest.mark.parametrize(
    ("facts", "answer", "words"),
    [
        ({"rate_1m": 6.14}, {}, "6.1 GPUs of work arrive"),
        ({"rate_1m": 0.034}, {}, "0.03 GPUs of work arrive"),
        ({"rate_1m": 0.0004}, {}, "less than 0.01 GPUs of work arrive"),
        ({"rate_1m": 0.0004, "idle_s": 300.0}, {}, "nothing arrived for 300 s"),
        ({"idle_s": 300.0}, {"arrival": 0.0}, "nothing arrived for 300 s"),
        ({"idle_s": NEVER_S}, {"arrival": 0.0}, "nothing has arrived yet"),
    ],
)
def test_what_arrives_is_never_said_to_be_nothing_of_something(
    facts: dict[str, Any], answer: dict[str, Any], words: str
) -> None:
    assert said(facts, answer) == words


def test_small_terms_are_seen() -> None:
    whole = sentence(replace(FACTS, backlog_s=3.0), replace(ANSWER, arrival=0.04, backlog=0.3), Config())
    assert "1.24 x the highest level in 60 min asks for 0.04 replicas" in whole
    assert "needs 0.3 more" in whole
