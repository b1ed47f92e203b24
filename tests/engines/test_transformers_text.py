"""Tokens -> text, as it grows. Pure, so it is tested outside the engine's environment."""

from hypothesis import given
from hypothesis import strategies as st

from engines.transformers_chat.text import Text

SPECIAL = 256


class Bytes:
    """A tokenizer whose tokens are bytes, and one special token."""

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        kept = [token for token in tokens if token != SPECIAL or not skip_special_tokens]
        return b"".join(b"<s>" if token == SPECIAL else bytes([token]) for token in kept).decode(errors="replace")


def read(tokens: list[int], *, skip_special_tokens: bool = True) -> list[str]:
    """What is told at each token, and at the end."""
    text = Text(Bytes(), skip_special_tokens)
    return [*map(text.read, tokens), text.rest()]


def test_a_character_is_told_when_it_is_complete():
    """Not in pieces, which would be no text."""
    assert read([*"aé€".encode()]) == ["a", "", "é", "", "", "€", ""]


def test_an_incomplete_character_is_told_at_the_end():
    """As every decoder writes it."""
    assert read([*"a€".encode()][:-1]) == ["a", "", "", "\N{REPLACEMENT CHARACTER}"]


def test_special_tokens_are_told_if_they_are_asked_for():
    """Else they are nothing."""
    assert read([97, SPECIAL, 98]) == ["a", "", "b", ""]
    assert read([97, SPECIAL, 98], skip_special_tokens=False) == ["a", "<s>", "b", ""]


@given(st.text(), st.lists(st.integers(0, SPECIAL)))
def test_what_is_told_is_all_of_the_text(written: str, noise: list[int]):
    """Whatever the tokens are, and in whatever pieces."""
    for tokens in ([*written.encode()], noise):
        told = "".join(read(tokens))
        assert told == Bytes().decode(tokens, skip_special_tokens=True)
