"""Texts that end an answer. Pure, so it is tested outside the engines' environments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.openai_chat.stop import StopText

letters = st.text(alphabet="abc", max_size=6)


def read(stops: tuple[str, ...], *pieces: str) -> tuple[list[str], bool]:
    """What is handed on at each piece, and at the end; whether a stop was found."""
    stop_text = StopText(stops)
    told = []
    for piece in pieces:
        told.append(stop_text.read(piece))
        if stop_text.found:
            return told, True
    return [*told, stop_text.rest()], False


@pytest.mark.parametrize(
    ("stops", "pieces", "told", "found"),
    [
        ((), ["one ", "two"], ["one ", "two", ""], False),
        (("\n",), ["one\ntwo"], ["one"], True),
        (("stop",), ["one s", "top two"], ["one ", ""], True),
        (("stop",), ["one s", "tep"], ["one ", "step", ""], False),
        (("stop",), ["one st"], ["one ", "st"], False),
        (("aab",), ["aa", "ab"], ["", "a"], True),
        # Of two that are found, the one that is complete first.
        (("abcd", "bc"), ["abcd"], ["a"], True),
        (("two", "one"), ["one two"], [""], True),
    ],
)
def test_a_stop_ends_the_answer_before_it(stops: tuple[str, ...], pieces: list[str], told: list[str], found: bool):
    """What may be the beginning of one is not told until it is known not to be."""
    assert read(stops, *pieces) == (told, found)


@given(st.lists(letters.filter(bool), max_size=3), st.lists(letters))
def test_pieces_do_not_matter(stops: list[str], pieces: list[str]):
    """An answer in pieces is the answer letter by letter."""
    told, found = read(tuple(stops), *pieces)
    by_letter, found_by_letter = read(tuple(stops), *"".join(pieces))
    assert ("".join(told), found) == ("".join(by_letter), found_by_letter)
