import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaling.config import Config
from autoscaling.policy import WorkPolicy
from autoscaling.row import Row
from tests.autoscaling.fluid import STEP_S, Fluid

CONFIG = Config()
POLICY = WorkPolicy(CONFIG)


def row(work_s: list[float], **different: Any) -> Row:
    fluid = Fluid(POLICY)
    for _ in fluid.run(work_s):
        pass
    decision = POLICY.decide(fluid.observation(now_s=fluid.now_s + STEP_S, **different), fluid.state)
    return Row.of(fluid.now_s + STEP_S, "qwen", decision, CONFIG, ("llava",), replica_hourly_nano_usd=2_000_000_000)


@settings(deadline=None, max_examples=20)
@given(
    work=st.lists(st.floats(0, 30), min_size=1, max_size=40),
    backlog=st.one_of(st.none(), st.floats(0, 1e4)),
    granted=st.one_of(st.none(), st.integers(0, 50)),
)
def test_a_row_that_is_read_again_gives_its_decision(
    work: list[float], backlog: float | None, granted: int | None
) -> None:
    written = row(work, backlog_work_s=backlog, granted=granted)

    read = Row.from_json(written.to_json())

    assert read == written
    assert read.replay(Config()) == written.answer


def test_a_row_says_what_was_known_and_what_it_costs() -> None:
    plain = json.loads(row([4.0] * 80, backlog_work_s=50.0).to_json())

    assert plain["model"] == "qwen"
    assert plain["competitors"] == ["llava"]
    assert plain["facts"]["rate_1m"] == pytest.approx(4.0)
    assert plain["answer"]["backlog"] > 0
    assert plain["hourly_after_nano_usd"] == 2_000_000_000 * plain["answer"]["replicas"]


def test_a_row_depends_on_nothing_but_its_facts() -> None:
    first = row([4.0] * 80)
    other = replace(first, model="llava", at_s=0.0, words="", competitors=())

    assert other.replay(CONFIG) == first.answer


def test_a_row_of_other_constants_is_not_replayed() -> None:
    with pytest.raises(ValueError, match="configuration"):
        row([1.0]).replay(Config(drain_s=60))
