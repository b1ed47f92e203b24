"""Guided decoding in LMDeploy 0.18.0's PyTorch engine, where one request's grammar would end the loop that answers all.

Its servers refuse such requests before (`openai_chat.trial`); this is for what gets past them. And between the parts of JSON
there is no white space, which would be allowed without end. For the engine process, which imports its main module again.
"""

import logging
from typing import Any

logger = logging.getLogger("lmdeploy")


def install() -> None:
    """In this process."""
    from lmdeploy.pytorch.engine import guided_process

    compile_any = guided_process.compile_response_format
    guided_process.compile_response_format = lambda compiler, asked: compile_any(Compact(compiler), asked)
    manager = guided_process.GuidedDecodingManager
    manager.get_processor = _or_none_of_its_own(manager.get_processor)
    manager.fill_bitmap = _or_an_end(manager.fill_bitmap)


class Compact:
    """xgrammar's compiler, as LMDeploy calls it."""

    def __init__(self, compiler: Any) -> None:
        self._compiler = compiler

    def compile_json_schema(self, schema: str) -> Any:
        return self._compiler.compile_json_schema(schema, any_whitespace=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiler, name)


class Unguided:
    """In the place of a grammar that cannot be compiled: from its first token on there is nothing to keep to."""

    def is_terminated(self) -> bool:
        return True


def _or_none_of_its_own(get_processor: Any) -> Any:
    def guarded(self: Any, session_id: int, seq_id: int, response_format: dict[str, Any]) -> Any:
        try:
            return get_processor(self, session_id, seq_id, response_format)
        except (RuntimeError, ValueError):
            logger.exception("the grammar of session %d cannot be compiled", session_id)
            return self.processors.setdefault(session_id, {}).setdefault(seq_id, Unguided())

    return guarded


def _or_an_end(fill_bitmap: Any) -> Any:
    """Where no token is allowed the likelihoods of all are minus infinity, and none can be drawn."""

    def guarded(self: Any, processor: Any, bitmask: Any, index: int) -> None:
        fill_bitmap(self, processor, bitmask, index)
        if not bitmask[index].any():
            for token in processor.stop_token_ids:
                bitmask[index, token // 32] |= -(1 << 31) if token % 32 == 31 else 1 << (token % 32)

    return guarded
