"""Ids and metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.files.file import FILE, File, Purpose, is_id, new_id


@given(st.integers(0, 2**43), st.integers(0, 2**43))
def test_ids_sort_by_the_time_that_they_were_made(one_ms: int, other_ms: int):
    """So that a list of keys is in order."""
    assert (one_ms < other_ms) <= (new_id(FILE, one_ms) < new_id(FILE, other_ms))


def test_no_two_ids_are_alike():
    """Nor can one be guessed from another, unless that is asked for."""
    assert new_id(FILE, 1) != new_id(FILE, 1)
    assert new_id(FILE, 1, "ab" * 32) == new_id(FILE, 1, "ab" * 32)


@pytest.mark.parametrize(
    "text", ["", "file-", "file-../../x", new_id("batch_", 1), new_id(FILE, 1) + "/x", new_id(FILE, 1)[:-1]]
)
def test_only_an_id_becomes_a_part_of_a_key(text: str):
    """Nothing with a slash, above all."""
    assert is_id(FILE, new_id(FILE, 1))
    assert not is_id(FILE, text)


def test_metadata_is_read_as_it_was_written():
    """Names in any alphabet."""
    file = File("file-1", "Bücher.jsonl", Purpose.BATCH, 7, 1_000)
    assert File.decoded(file.encoded()) == file
