"""What an answer must keep to: JSON, or a schema of it."""

from typing import Any

import xgrammar
from openai_chat import trial
from openai_chat.refusal import FieldRefused


class Grammars:
    """Compiled once for all sequences that keep to the same one."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary, stop_token_ids=sorted(ends))
        self._compiler = xgrammar.GrammarCompiler(info)

    def of(self, response_format: dict[str, Any] | None) -> xgrammar.CompiledGrammar | None:
        """To be called on a thread: it takes a second of a large vocabulary. Raises `FieldRefused`."""
        trial.check(response_format)
        match response_format:
            case None | {"type": "text"}:
                return None
            case {"type": "json_object"}:
                return self._compiler.compile_builtin_json_grammar()
            case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
                try:
                    return self._compiler.compile_json_schema(schema)
                except RuntimeError as error:
                    raise FieldRefused(trial.FIELD, "unsupported schema") from error
        return None
