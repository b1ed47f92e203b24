"""What an answer must keep to: JSON, or a schema of it."""

from typing import Any

import xgrammar
from openai_chat import trial
from openai_chat.refusal import FieldRefused

# White space would be allowed without end: a model that knows no better writes nothing else.
ANY_OBJECT = '{"type": "object"}'


class Grammars:
    """Without white space between the parts of JSON. Compiled once for all sequences that keep to the same one."""

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
                return self._compiler.compile_json_schema(ANY_OBJECT, any_whitespace=False)
            case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
                try:
                    return self._compiler.compile_json_schema(schema, any_whitespace=False)
                except RuntimeError as error:
                    raise FieldRefused(trial.FIELD, "unsupported schema") from error
        return None
