"""The last line of a run."""

from types import SimpleNamespace

import pytest

from tests.missing import needs_program, summary


def skipped(reason: str) -> SimpleNamespace:
    return SimpleNamespace(longrepr=("tests/test_x.py", 1, f"Skipped: {reason}"))


def test_a_program_that_is_there_is_used():
    needs_program("sh", "dash")


def test_a_program_that_is_not_there_is_named_with_its_package():
    with pytest.raises(
        pytest.skip.Exception, match=r"no-such-program is not installed \(apt-get install its-package\)"
    ):
        needs_program("no-such-program", "its-package")


def test_skipped_tests_are_counted_by_what_they_lack():
    assert summary([skipped("a"), skipped("b"), skipped("a")]) == "Not run on this machine (tests): a: 2; b: 1"


def test_nothing_is_said_where_nothing_lacks():
    assert summary([]) == ""
