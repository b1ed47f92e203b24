"""Moondream 2: its publisher's own code, behind the shape of `model.Served`.

One question at a time, because its KV cache holds one sequence. What is relied on of that code, at every revision of 2025:
`query` of the model, and of what it wraps the tokenizer, the templates and the call that computes one more token.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from openai_chat.asked import Asked
from openai_chat.refusal import FieldRefused
from PIL import Image
from transformers import PretrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from transformers_chat.media import BadMedia, image
from transformers_chat.messages import Message
from transformers_chat.model import Tally
from transformers_chat.reader import Prompt
from transformers_chat.sequence import Sequence

logger = logging.getLogger(__name__)

ARCHITECTURE = "HfMoondream"
VISION_TOKENS = 729
SEED_BOUND = 1 << 63


@dataclass(frozen=True, slots=True)
class Question(Prompt):
    """A picture and what is asked of it."""

    text: str
    picture: Image.Image | None


class Left(Exception):
    """Nobody waits for the answer any more."""


class Moondream:
    """Pieces of an answer are words: that code tells no tokens, but they are counted."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._inner = model.model
        self.reader = self
        self.vocabulary = int(self._inner.tokenizer.get_vocab_size())

    def read(self, conversation: list[Message], frames_per_s: float) -> Question:
        """It knows no turns: the last user's text, and the one picture. Raises `BadMedia`."""
        users = [message for message in conversation if message.role == "user"]
        if not users:
            raise BadMedia("this model answers a user's question, and there is none.")
        text = "\n".join(part.text for part in users[-1].parts if part.type == "text")
        urls = [part.image_url.url for message in users for part in message.parts if part.type == "image_url"]
        picture = image(urls[-1]) if urls else None
        template = self._inner.config.tokenizer.templates["query"]
        written = [*template["prefix"], *self._inner.tokenizer.encode(text).ids, *template["suffix"]]
        seen = VISION_TOKENS if picture else 0
        tokens = torch.zeros(1, 1 + seen + len(written), dtype=torch.long)  # of which only the number counts
        return Question({"input_ids": tokens}, {"image": seen} if seen else {}, text, picture)

    def sequence(self, prompt: Question, asked: Asked, loop: asyncio.AbstractEventLoop) -> Sequence:
        """See `Served`."""
        if asked.response_format not in (None, {"type": "text"}):
            raise FieldRefused("response_format", "this model writes text only.")
        return Sequence(prompt, asked, loop)

    def answer(self, sequences: list[Sequence], tally: Tally) -> None:
        """See `Served`; one after the other."""
        for sequence in sequences:
            tally.batches += 1
            tally.prompt_tokens += sequence.prompt.tokens
            try:
                self._answer(sequence, tally)
            except Left:
                continue
            except Exception:
                logger.exception("an answer failed")
                sequence.fail()

    def _answer(self, sequence: Sequence, tally: Tally) -> None:
        asked, question = sequence.asked, sequence.prompt
        count = _Count(sequence, tally, self._inner._decode_one_tok)
        self._inner._decode_one_tok = count
        if asked.seed is not None:
            torch.manual_seed(asked.seed % SEED_BOUND)
        settings = {"max_tokens": asked.max_tokens, "temperature": asked.temperature, "top_p": asked.top_p}
        try:
            query = self._model.query(image=question.picture, question=question.text, stream=True, settings=settings)
            for text in query["answer"]:
                sequence.tell(text, count.tokens)
            sequence.tell("", count.tokens, "length" if count.computed > asked.max_tokens else "stop")
        finally:
            self._inner._decode_one_tok = count.original


class _Count:
    """In the place of the call that computes one more token. `computed` includes the one that ended the answer, and the one
    beyond its length, which is thrown away.
    """

    def __init__(self, sequence: Sequence, tally: Tally, original: Callable[..., Any]) -> None:
        self.original = original
        self.computed = 1  # with the prompt
        self._sequence = sequence
        self._tally = tally
        tally.output_tokens += 1

    @property
    def tokens(self) -> int:
        return min(self.computed, self._sequence.asked.max_tokens)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._sequence.over:
            raise Left
        self.computed += 1
        self._tally.output_tokens += self.computed <= self._sequence.asked.max_tokens
        return self.original(*arguments, **named)


def load(weights: Path | str, config: PretrainedConfig, revision: str | None, placed: dict[str, Any]) -> Moondream:
    """The code that the configuration names, which the caller has trusted."""
    code = config.auto_map["AutoModelForCausalLM"]
    published = get_class_from_dynamic_module(code, weights, revision=revision)

    class Finished(published):  # type: ignore[misc, valid-type]
        """Transformers 5 does not load what has not called `post_init`."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.post_init()

    return Moondream(Finished.from_pretrained(weights, config=config, revision=revision, **placed).eval())
