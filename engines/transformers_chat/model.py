"""What computes a batch: any image-text-to-text model of Transformers, by its own `generate`."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from openai_chat.asked import Asked
from torch import Tensor
from torch.nn.functional import pad
from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel, StoppingCriteria

from transformers_chat.choice import Choice
from transformers_chat.grammar import Grammars
from transformers_chat.reader import Prompt, Reader
from transformers_chat.sequence import Sequence, TokenSequence

logger = logging.getLogger(__name__)


class Tally(Protocol):
    """What is counted."""

    prompt_tokens: int
    output_tokens: int
    batches: int


class Served(Protocol):
    """A model as the endpoint and the batches know it. `vocabulary`: how many tokens it chooses from."""

    reader: Any
    vocabulary: int

    def sequence(self, prompt: Prompt, asked: Asked, loop: asyncio.AbstractEventLoop) -> Sequence:
        """An answer that is to be written. Raises ValueError for what it cannot keep to, in words for the caller."""

    def answer(self, sequences: list[Any], tally: Tally) -> None:
        """Write these answers, together, to the end of the last."""


class Model:
    """`ends` are the tokens that end an answer, as the checkpoint says."""

    def __init__(self, model: PreTrainedModel, reader: Reader, ends: frozenset[int]) -> None:
        self._model = model
        self.reader = reader
        self._ends = ends
        self._padding = min(ends)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self._grammars = Grammars(reader.tokenizer, self.vocabulary, ends)
        # The request alone decides about sampling, not a file beside the weights.
        model.generation_config = GenerationConfig(pad_token_id=self._padding)

    def sequence(self, prompt: Prompt, asked: Asked, loop: asyncio.AbstractEventLoop) -> TokenSequence:
        """See `Served`."""
        grammar = self._grammars.of(asked.response_format)
        choice = Choice(asked, prompt.inputs["input_ids"], self._ends, grammar)
        return TokenSequence(prompt, asked, loop, choice, self._ends, self.reader.tokenizer)

    def answer(self, sequences: list[TokenSequence], tally: Tally) -> None:
        """See `Served`. What goes wrong for one fails it alone, and in the model all."""
        tally.batches += 1
        tally.prompt_tokens += sum(sequence.prompt.tokens for sequence in sequences)
        try:
            with torch.inference_mode():
                self._generate(sequences, tally)
        except Exception:
            logger.exception("a batch of %d failed", len(sequences))
            for sequence in sequences:
                sequence.fail()

    def _generate(self, sequences: list[TokenSequence], tally: Tally) -> None:
        inputs = together([sequence.prompt for sequence in sequences], self._padding)
        self._model.generate(
            **{name: self._placed(tensor) for name, tensor in inputs.items()},
            max_new_tokens=max(sequence.asked.max_tokens for sequence in sequences),
            logits_processor=[_Steps(sequences, self._padding, tally)],
            stopping_criteria=[_Over(sequences)],
            do_sample=False,
        )

    def _placed(self, tensor: Tensor) -> Tensor:
        """On the model's device; pictures in its precision."""
        return tensor.to(self._model.device, self._model.dtype if tensor.is_floating_point() else None)


class _Steps(LogitsProcessor):
    """Every sequence chooses its next token by itself; `generate` is left with only that one to take."""

    def __init__(self, sequences: list[TokenSequence], padding: int, tally: Tally) -> None:
        self._sequences = sequences
        self._padding = padding
        self._tally = tally

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        chosen = [self._token(sequence, row) for sequence, row in zip(self._sequences, scores, strict=True)]
        only = torch.tensor(chosen, device=scores.device)
        return torch.zeros_like(scores).scatter_(1, only[:, None], 1.0)

    def _token(self, sequence: TokenSequence, logits: Tensor) -> int:
        if sequence.over:
            return self._padding
        self._tally.output_tokens += 1
        try:
            return sequence.step(logits)
        except Exception:
            logger.exception("an answer failed")
            sequence.fail()
            return self._padding


class _Over(StoppingCriteria):
    """A batch is over when all of its sequences are."""

    def __init__(self, sequences: list[TokenSequence]) -> None:
        self._sequences = sequences

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.tensor([sequence.over for sequence in self._sequences], device=input_ids.device)


def together(prompts: list[Prompt], padding: int) -> dict[str, Tensor]:
    """Prompts of a batch of one each as one batch: what is told of every token is padded on the left, images are lined up."""
    tokens_max = max(prompt.tokens for prompt in prompts)
    names = {name for prompt in prompts for name in prompt.inputs}
    return {name: _joined(name, prompts, tokens_max, padding) for name in names}


def _joined(name: str, prompts: list[Prompt], tokens_max: int, padding: int) -> Tensor:
    fill = padding if name == "input_ids" else 0
    tensors = [(prompt.inputs[name], prompt.tokens) for prompt in prompts if name in prompt.inputs]
    if all(tensor.shape == (1, tokens) for tensor, tokens in tensors):
        return torch.cat([pad(tensor, (tokens_max - tokens, 0), value=fill) for tensor, tokens in tensors])
    return _lined_up([tensor for tensor, _ in tensors])


def _lined_up(tensors: Iterable[Tensor]) -> Tensor:
    """Of prompts with more and with fewer images: where these are counted by the second dimension, zeros fill it."""
    tensors = list(tensors)
    if tensors[0].ndim < 3:
        return torch.cat(tensors)
    most = max(tensor.shape[1] for tensor in tensors)
    return torch.cat([pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, most - tensor.shape[1])) for tensor in tensors])
