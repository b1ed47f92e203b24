import signal
import subprocess
import sys

import pytest

PASSES = (
    "from accounting.failpoint import failpoint\nfor i in 'abab':\n    failpoint(i)\n    print(i, end='', flush=True)"
)


def passed(environment: dict[str, str]) -> tuple[int, str]:
    """The exit status of a process that passes a, b, a and b, and what it came through."""
    process = subprocess.run(
        [sys.executable, "-c", PASSES], env=environment, capture_output=True, text=True, check=False
    )
    return process.returncode, process.stdout


def test_nothing_happens_unless_it_is_asked_for():
    assert passed({}) == (0, "abab")


@pytest.mark.parametrize(
    ("spec", "before"), [("a:1", ""), ("b:1", "a"), ("a:2", "ab"), ("b:2", "aba"), ("a:2:0.01", "ab")]
)
def test_the_process_kills_itself_at_the_nth_passing_of_a_point(spec: str, before: str):
    assert passed({"VLMFLEET_FAILPOINT": spec}) == (-signal.SIGKILL, before)


def test_a_point_that_is_not_passed_often_enough_kills_nobody():
    assert passed({"VLMFLEET_FAILPOINT": "a:3"}) == (0, "abab")
