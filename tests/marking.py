"""Texts of people who would like to write more than text."""

from collections.abc import Sequence

from hypothesis import strategies as st


def written(markers: Sequence[str]) -> st.SearchStrategy[str]:
    """Markers, whole and cut, side by side and into one another, and some words."""
    whole = st.sampled_from(list(markers))
    cut = st.tuples(whole, st.integers(1, 30), st.booleans()).map(
        lambda said: said[0][: said[1]] if said[2] else said[0][said[1] :]
    )
    words = st.sampled_from(["<", ">", "|", "/", "[", " ", "\n", "a", "hello ", "é", "\u200b"])
    return st.lists(st.one_of(whole, cut, words), max_size=8).map("".join)
