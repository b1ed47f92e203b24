"""A sequence's next token: what the request says about sampling, and nothing else. In vLLM's order."""

import torch
import xgrammar
from openai_chat.asked import Asked
from torch import Tensor

NEVER = float("-inf")
# A seed is 64 bits to torch, and any integer to its callers.
SEED_BOUND = 1 << 63


class Choice:
    """Of one sequence. `ends` are the tokens that end an answer, `grammar` what it must keep to."""

    def __init__(
        self, asked: Asked, prompt: Tensor, ends: frozenset[int], grammar: xgrammar.CompiledGrammar | None
    ) -> None:
        self._asked = asked
        self._ends = torch.tensor(sorted(ends))
        self._seen = prompt.unique()
        self._count = 0
        self._matcher = xgrammar.GrammarMatcher(grammar) if grammar else None
        self._random = torch.Generator()
        if asked.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(asked.seed % SEED_BOUND)

    def __call__(self, logits: Tensor) -> int:
        """From the model's logits of one position, float32 of (vocabulary,)."""
        logits = self._allowed(logits.to("cpu", copy=True))
        if logits.max() == NEVER:  # nothing is allowed: the answer ends
            return int(self._ends[0])
        token = int(logits.argmax()) if self._asked.temperature == 0 else self._drawn(logits)
        self._count += 1
        if self._asked.repetition_penalty != 1:
            self._seen = torch.cat([self._seen, torch.tensor([token])]).unique()
        if self._matcher and not self._matcher.is_terminated():
            self._matcher.accept_token(token)
        return token

    def _allowed(self, logits: Tensor) -> Tensor:
        """By the grammar, `min_tokens`, and with what was said already made less likely."""
        if self._matcher and not self._matcher.is_terminated():
            bitmask = xgrammar.allocate_token_bitmask(1, len(logits))
            self._matcher.fill_next_token_bitmask(bitmask)
            xgrammar.apply_token_bitmask_inplace(logits[None], bitmask)
        if self._count < self._asked.min_tokens:
            logits[self._ends] = NEVER
        penalty = self._asked.repetition_penalty
        if penalty != 1:
            seen = logits[self._seen]
            logits[self._seen] = torch.where(seen > 0, seen / penalty, seen * penalty)
        return logits

    def _drawn(self, logits: Tensor) -> int:
        asked = self._asked
        logits = logits / asked.temperature
        if asked.min_p:
            probabilities = logits.softmax(0)
            logits[probabilities < asked.min_p * probabilities.max()] = NEVER
        ordered, tokens = logits.sort(descending=True)
        if asked.top_k > 0:
            ordered[asked.top_k :] = NEVER
        probabilities = ordered.softmax(0)
        # A token stays as long as those before it do not reach top_p; so the first always does.
        probabilities[probabilities.cumsum(0) - probabilities >= asked.top_p] = 0
        return int(tokens[torch.multinomial(probabilities, 1, generator=self._random)])
