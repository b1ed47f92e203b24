"""Sampling by each request's own seed, as the CUDA kernel does; LMDeploy's default implementation ignores seeds."""

import torch
from lmdeploy.pytorch.backends.multinomial_sampling import MultinomialSamplingImpl
from torch import Tensor

# Seeds of one request's steps must not meet those of another's.
STEPS_APART = 1_000_003
SEED_BOUND = 1 << 63


class CpuMultinomialSampling(MultinomialSamplingImpl):
    """The same seed and step, the same token; whatever else is in the batch."""

    def forward(self, scores: Tensor, seeds: Tensor, offsets: Tensor, indices: Tensor | None = None) -> Tensor:
        """`scores` [batch, candidates] are probabilities; `indices` names the candidates. Returns [batch] tokens."""
        rows = zip(scores.float(), seeds.flatten().tolist(), offsets.flatten().tolist(), strict=True)
        picked = torch.stack([_pick(row, seed * STEPS_APART + step) for row, seed, step in rows])
        return picked.view(-1) if indices is None else indices.gather(1, picked).view(-1)


def _pick(probabilities: Tensor, seed: int) -> Tensor:
    if not probabilities.sum() > 0:  # of no token that is allowed, or of one that is not a number
        return torch.zeros(1, dtype=torch.long)
    generator = torch.Generator().manual_seed(seed % SEED_BOUND)
    return torch.multinomial(probabilities, 1, generator=generator)
