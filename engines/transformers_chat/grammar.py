"""What an answer must keep to: JSON, or a schema of it."""

from typing import Any

import xgrammar


class Grammars:
    """Compiled once for all sequences that keep to the same one."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary, stop_token_ids=sorted(ends))
        self._compiler = xgrammar.GrammarCompiler(info)

    def of(self, response_format: dict[str, Any] | None) -> xgrammar.CompiledGrammar | None:
        """Raises ValueError for a format or a schema that is none."""
        match response_format:
            case None | {"type": "text"}:
                return None
            case {"type": "json_object"}:
                return self._compiler.compile_builtin_json_grammar()
            case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
                try:
                    return self._compiler.compile_json_schema(schema)
                except RuntimeError as error:
                    raise ValueError("response_format: unsupported schema") from error
        raise ValueError("response_format: unknown type")
