"""Which requests are computed together. Pure, so it is tested outside the engine's environment."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.transformers_chat.batch import Bounds, batch


@dataclass(frozen=True)
class Request:
    number: int
    vision_tokens: int


def requests(*vision_tokens: int) -> list[Request]:
    return [Request(number, tokens) for number, tokens in enumerate(vision_tokens)]


BOUNDS = Bounds(sequences=3, vision_tokens=100)


@pytest.mark.parametrize(
    ("waiting", "chosen"),
    [
        ([], []),
        ([0, 0], [0, 1]),
        ([0, 0, 0, 0], [0, 1, 2]),  # as many as fit
        ([50, 50, 1], [0, 1]),  # up to the bound
        ([60, 60, 40], [0, 2]),  # a smaller one fits where a larger one does not
        ([500, 0, 10], [0]),  # beyond the bound: alone
        ([0, 500], [0]),
    ],
)
def test_a_batch_is_what_fits(waiting: list[int], chosen: list[int]):
    """In the order of waiting."""
    assert [one.number for one in batch(requests(*waiting), BOUNDS)] == chosen


@given(st.lists(st.integers(0, 200), min_size=1, max_size=30))
def test_nobody_waits_for_ever(vision_tokens: list[int]):
    """Who has waited longest is always in, so a queue of any kind is done in as many batches as it has requests."""
    waiting = requests(*vision_tokens)
    for _ in vision_tokens:
        chosen = batch(waiting, BOUNDS)
        assert chosen[:1] == waiting[:1]
        assert len(chosen) <= BOUNDS.sequences
        assert len(chosen) == 1 or sum(one.vision_tokens for one in chosen) <= BOUNDS.vision_tokens
        waiting = [one for one in waiting if one not in chosen]
        if not waiting:
            return
    pytest.fail("somebody still waits")
