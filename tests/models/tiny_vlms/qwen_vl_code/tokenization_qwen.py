"""A tokenizer on a tiktoken file, as Qwen-VL's: a token is its bytes, a special one its text."""

import base64
from pathlib import Path
from typing import Any

import tiktoken
from transformers import PreTrainedTokenizer

# How the first Qwen splits a text.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class QWenTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "qwen.tiktoken"}  # noqa: RUF012  # as Transformers reads it

    def __init__(self, vocab_file: str, special: list[str], errors: str = "replace", **others: Any) -> None:
        ranks = {
            base64.b64decode(token): int(rank)
            for token, rank in (line.split() for line in Path(vocab_file).read_bytes().splitlines())
        }
        self.special_tokens = {text: len(ranks) + number for number, text in enumerate(special)}
        self.tokenizer = tiktoken.Encoding(
            "Qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=self.special_tokens
        )
        self.decoder = {number: token for token, number in (ranks | self.special_tokens).items()}
        self._numbers = ranks | self.special_tokens
        self.errors = errors
        self.image_start_tag, self.image_end_tag, self.image_pad_tag = "<img>", "</img>", "<imgpad>"
        self.im_start_id, self.im_end_id = self.special_tokens["<|im_start|>"], self.special_tokens["<|im_end|>"]
        super().__init__(special=special, errors=errors, **others)

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.n_vocab

    @property
    def eos_token_id(self) -> int:
        return self.special_tokens["<|endoftext|>"]

    def get_vocab(self) -> dict[Any, int]:
        return self._numbers

    def tokenize(self, text: str, **others: Any) -> list[bytes | str]:
        return [self.decoder[number] for number in self.tokenizer.encode(text, allowed_special="all")]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        if isinstance(tokens, (str, bytes)):
            return self._numbers.get(tokens)
        return [self._numbers.get(token) for token in tokens]

    def convert_tokens_to_string(self, tokens: list[bytes | str]) -> str:
        joined = b"".join(token if isinstance(token, bytes) else token.encode() for token in tokens)
        return joined.decode("utf-8", errors=self.errors)

    def _convert_id_to_token(self, index: int) -> bytes | str:
        return self.decoder[index]

    def _decode(
        self, token_ids: Any, skip_special_tokens: bool = False, errors: str | None = None, **others: Any
    ) -> str:
        numbers = [token_ids] if isinstance(token_ids, int) else list(token_ids)
        if skip_special_tokens:
            numbers = [number for number in numbers if number < self.special_tokens["<|endoftext|>"]]
        return self.tokenizer.decode(numbers, errors=errors or self.errors)
