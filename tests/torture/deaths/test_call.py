import pytest

from torture.deaths.call import Call, answered_again_s

KILLED_S = 10.0


def call(began_s: float, ended_s: float, *, answered: bool = True, caller: str = "a") -> Call:
    return Call(caller, began_s, ended_s, answered)


@pytest.mark.parametrize(
    ("calls", "again_s"),
    [
        ([], None),
        ([call(9, 11)], None),
        ([call(9, 20, answered=False), call(20, 21)], 21),
        ([call(11, 12)], 12),
        ([call(11, 12), call(12, 13)], 12),
        ([call(11, 12, answered=False)], None),
        ([call(11, 12, answered=False), call(12, 19)], 19),
        ([call(11, 12), call(12, 13, answered=False), call(13, 14)], 14),
        ([call(11, 12), call(12, 13, answered=False)], None),
    ],
)
def test_answers_are_there_again_with_the_first_after_the_last_failure(calls: list[Call], again_s: float | None):
    """What began before the kill tells nothing."""
    assert answered_again_s(calls, ["a"], KILLED_S) == again_s


def test_the_last_caller_counts():
    calls = [call(11, 12), call(11, 17, caller="b")]
    assert answered_again_s(calls, ["a", "b"], KILLED_S) == 17
    assert answered_again_s(calls, ["a", "b", "silent"], KILLED_S) is None
