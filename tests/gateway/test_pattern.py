import re
import time

import pytest

from deployments.gateway.pattern import copies


@pytest.mark.parametrize(
    ("pattern", "number"),
    [
        ("", 0),
        ("abc", 3),
        (r"\d{4}-\d{2}", 7),
        ("(a{1,9}b){5}", 50),
        ("(a{1,1000}){1,1000}", 1_000_000),
        ("(?:(?:a{10}){10}){10}", 1000),
        ("[a-z]{,7}", 7),
        ("[]}{9}]{3}", 3),
        ("a{3", 3),
        (r"\{9}", 3),
        ("(){9}", 9),
        ("a{999999999}", 999_999_999),
    ],
)
def test_repetitions_count_as_often_as_they_are_written_out(pattern: str, number: int):
    """As an automaton has states."""
    assert number == copies(pattern)


@pytest.mark.parametrize("pattern", ["([", "a{2}{3}", "*", "(", "(?P<", "\\", "a{" + "9" * 30 + "}"])
def test_what_is_no_regular_expression_is_told(pattern: str):
    with pytest.raises(re.error):
        copies(pattern)


@pytest.mark.parametrize("pattern", [r"^(?<year>\d{4})$", r"\p{L}+", r"\p{Script=Greek}", r"\/", "^(?!a).*$"])
def test_javascripts_dialect_is_one(pattern: str):
    """JSON schemas are written in it."""
    assert copies(pattern) > 0


def test_a_large_class_is_one_character():
    """Whatever its letters are: Python's compiler would take a second for these."""
    began_s = time.thread_time()
    assert copies("(?i)" + "[\u0100-\uffff]" * 100) == 102
    assert time.thread_time() - began_s < 0.5
