"""One request in the engine, from start to end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from lmdeploy.serve.core.async_engine import GenOut, PreprocessedRequest
from lmdeploy.serve.core.exceptions import ErrorCode, RequestError
from lmdeploy.serve.utils.request_cleanup import cleanup_result_generators
from openai_chat.answered import Piece
from openai_chat.asked import Asked
from openai_chat.stop import StopText

from lmdeploy_chat.asked import messages, sampling


@dataclass
class Run:
    """Made by `start`. Whoever has one closes it; the engine begins with the first piece that is asked for."""

    server: Any
    prepared: PreprocessedRequest
    outputs: AsyncGenerator[GenOut, None]
    stops: tuple[str, ...]

    @property
    def prompt_tokens(self) -> int:
        return int(self.prepared.input_token_len)

    @property
    def image_tokens(self) -> int:
        inputs = self.prepared.inputs
        if not inputs.get("multimodal"):
            return 0
        return int(inputs["input_ids"].count(self.server.async_engine.vl_encoder.model.image_token_id))

    async def pieces(self) -> AsyncIterator[Piece]:
        """The last has a `finish`, and is always there. Raises `RequestError`."""
        stop_text = StopText(self.stops)
        async for out in self.outputs:
            text, finish = stop_text.read(out.response), out.finish_reason
            if finish not in (None, "stop", "length"):
                break
            if stop_text.found:
                finish = "stop"
            elif finish:
                text += stop_text.rest()
            # The token that ended the answer was computed, too; LMDeploy leaves it out.
            output_tokens = out.generate_token_len + (out.finish_reason == "stop")
            yield Piece(text, output_tokens, out.cached_tokens, finish)
            if finish:
                return
        raise RequestError(ErrorCode.INTERNAL_ERROR)

    async def close(self) -> None:
        """End the engine's work, if it still works; also when the caller itself is being cancelled."""
        cleanup = cleanup_result_generators([self.outputs], [self.prepared.session], self.server.session_manager)
        await asyncio.shield(asyncio.create_task(cleanup))


async def start(server: Any, asked: Asked) -> Run:
    """Read images, apply the template, count tokens. Raises `RequestError`."""
    engine = server.async_engine
    if asked.model != engine.model_name:
        raise RequestError(ErrorCode.MODEL_NOT_FOUND)
    prepared = await engine.preprocess(messages(asked), server.create_session(), gen_config=sampling(asked))
    run = Run(server, prepared, engine.generate(prepared), asked.stops)
    if run.prompt_tokens + asked.max_tokens > engine.session_len:
        await run.close()
        raise RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED)
    return run
