"""One answer while it is written, token by token: its text, its end, and who waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from openai_chat.answered import Piece
from openai_chat.asked import Asked
from openai_chat.stop import StopText
from torch import Tensor

from transformers_chat.reader import Prompt
from transformers_chat.text import Text


class AnswerFailed(Exception):
    """The batch of this answer could not be computed."""


class Sequence:
    """Read (`pieces`) on the event loop, written on the batches' thread."""

    def __init__(self, prompt: Prompt, asked: Asked, loop: asyncio.AbstractEventLoop) -> None:
        self.prompt = prompt
        self.asked = asked
        self.vision_tokens = sum(prompt.vision_tokens.values())
        self.over = False
        self._stops = StopText(asked.stops)
        self._loop = loop
        self._pieces: asyncio.Queue[Piece | None] = asyncio.Queue()

    async def pieces(self) -> AsyncIterator[Piece]:
        """The last has a `finish`, and is always there. Raises `AnswerFailed`."""
        while piece := await self._pieces.get():
            yield piece
            if piece.finish:
                return
        raise AnswerFailed

    def leave(self) -> None:
        """Nobody reads it any more: it is over before its next token."""
        self.over = True

    def fail(self) -> None:
        """Wakes up who reads `pieces`."""
        self.over = True
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, None)

    def tell(self, text: str, output_tokens: int, finish: str | None = None) -> None:
        """More of the answer, and how many tokens all of it took; `finish` says why this is its end."""
        text = self._stops.read(text)
        if self._stops.found:
            finish = "stop"
        elif finish:
            text += self._stops.rest()
        self.over = self.over or finish is not None
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, Piece(text, output_tokens, 0, finish))


class TokenSequence(Sequence):
    """Written token by token. `ends` are the tokens that end an answer, `choose` takes logits of (vocabulary,)."""

    def __init__(
        self,
        prompt: Prompt,
        asked: Asked,
        loop: asyncio.AbstractEventLoop,
        choose: Callable[[Tensor], int],
        ends: frozenset[int],
        tokenizer: Any,
    ) -> None:
        super().__init__(prompt, asked, loop)
        self._choose = choose
        self._ends = (frozenset() if asked.ignore_eos else ends) | frozenset(asked.stop_token_ids)
        self._text = Text(tokenizer, asked.skip_special_tokens)
        self._output_tokens = 0

    def step(self, logits: Tensor) -> int:
        """Its next token."""
        token = self._choose(logits)
        self._output_tokens += 1
        ended = token in self._ends
        text = "" if ended else self._text.read(token)
        finish = "stop" if ended else "length" if self._output_tokens == self.asked.max_tokens else None
        self.tell(text + (self._text.rest() if finish else ""), self._output_tokens, finish)
        return token
