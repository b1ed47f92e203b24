"""Tokens -> text, as it grows."""

from typing import Any

UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Text:
    """A character of several tokens waits for its last."""

    def __init__(self, tokenizer: Any, skip_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._tokens: list[int] = []
        # Decoded together with what follows, because tokens are written differently at the beginning of a text.
        self._context = 0
        self._told = 0

    def read(self, token: int) -> str:
        """What is new and complete."""
        self._tokens.append(token)
        new = self.rest()
        if not new or new.endswith(UNFINISHED):
            return ""
        self._context, self._told = self._told, len(self._tokens)
        return new

    def rest(self) -> str:
        """What was not told yet, complete or not."""
        known = self._decoded(self._tokens[self._context : self._told])
        return self._decoded(self._tokens[self._context :])[len(known) :]

    def _decoded(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=self._skip_special_tokens))
