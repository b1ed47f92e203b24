"""How much accelerator memory a model needs, and which accelerators have it. Pure arithmetic, not measurement.

On each accelerator of a replica:

    weights / count + KV cache of one full context / count + encoder activations + runtime <= 0.90 x its memory

What is left holds the KV cache of more sequences.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

from catalog.card import ModelCard, Size
from catalog.catalog import CardError

GIB = 2**30
# GiB that an engine finds, less than what is printed on the box.
ACCELERATORS_GIB = {"L4": 22.5, "A10G": 22.5, "L40S": 44.9, "A100-80": 79.3, "H100": 79.2, "H200": 139.8}
# The share that engines take (`--gpu-memory-utilization`).
USABLE_SHARE = 0.90
# A key and a value, and every activation, in bf16.
BYTES_PER_VALUE = 2
# Vectors of the encoder's width that one patch keeps alive in a layer: residual, normed input, and the two four times
# as wide ones of the feed-forward part.
ENCODER_VECTORS_PER_PATCH = 10
# What an engine takes besides (CUDA context, graphs, the language model's activations): an assumption, by size.
RUNTIME_GIB_SMALL, RUNTIME_GIB_LARGE, LARGE_FROM_WEIGHTS_GIB = 2.0, 3.0, 6.0


@dataclass(frozen=True, slots=True)
class Memory:
    """GiB on each of `count` accelerators. `kv_gib` is one sequence of the whole context."""

    count: int
    weights_gib: float
    kv_gib: float
    encoder_gib: float
    runtime_gib: float

    @property
    def total_gib(self) -> float:
        """What must be there for the engine to start at all."""
        return self.weights_gib + self.kv_gib + self.encoder_gib + self.runtime_gib

    def sequences(self, kind: str) -> int:
        """How many sequences of the whole context an accelerator of this kind holds at once; 0 if the model does not fit."""
        spare_gib = USABLE_SHARE * ACCELERATORS_GIB[kind] - (self.total_gib - self.kv_gib)
        return max(0, floor(spare_gib / self.kv_gib))


@dataclass(frozen=True, slots=True)
class Fit:
    """So many accelerators of a kind hold the model, and so many sequences of its whole context."""

    kind: str
    count: int
    sequences: int

    def __str__(self) -> str:
        return f"{self.count} x {self.kind}"


def memory_of(card: ModelCard, count: int = 1) -> Memory:
    """What a replica over `count` accelerators needs on each. Raises `CardError` for a card that does not say its size."""
    size = _size(card)
    weights_gib = size.parameters * size.bytes_per_parameter / GIB
    return Memory(
        count,
        weights_gib / count,
        card.context_tokens * kv_bytes_per_token(size) / _kv_shares(size, count) / GIB,
        _patches_at_once(card) * size.encoder_width * ENCODER_VECTORS_PER_PATCH * BYTES_PER_VALUE / GIB,
        RUNTIME_GIB_SMALL if weights_gib < LARGE_FROM_WEIGHTS_GIB else RUNTIME_GIB_LARGE,
    )


def kv_bytes_per_token(size: Size) -> int:
    """A key and a value of every head in every layer."""
    return 2 * size.kv_layers * size.kv_heads * size.kv_head_dim * BYTES_PER_VALUE


def fits(card: ModelCard) -> list[Fit]:
    """For each known kind of accelerator, the fewest that hold the model."""
    return [fit for kind in ACCELERATORS_GIB if (fit := next(_fits_on(card, kind), None)) is not None]


def check_memory(card: ModelCard) -> None:
    """Raise `CardError` where the card's accelerators are known to be too small. The message names those that fit."""
    kind, count = card.accelerators.kind, card.accelerators.count
    if kind not in ACCELERATORS_GIB or card.size is None:
        return
    needs = memory_of(card, count)
    if needs.sequences(kind):
        return
    raise CardError(
        f"{card.served_name} does not fit {count} x {kind}: on each it needs {needs.total_gib:.1f} GiB "
        f"(weights {needs.weights_gib:.1f}, one sequence {needs.kv_gib:.1f}, encoder {needs.encoder_gib:.1f}, "
        f"runtime {needs.runtime_gib:.1f}), and {USABLE_SHARE * ACCELERATORS_GIB[kind]:.1f} can be used. "
        f"It fits {', '.join(map(str, fits(card))) or 'no accelerator known here'}; correct the card's accelerators"
    )


def _fits_on(card: ModelCard, kind: str) -> Iterator[Fit]:
    for count in _size(card).tensor_parallel:
        sequences = memory_of(card, count).sequences(kind)
        if sequences:
            yield Fit(kind, count, sequences)


def _size(card: ModelCard) -> Size:
    if card.size is None:
        raise CardError(f"{card.served_name}: the card has no `size`, so its memory is not known; add it")
    return card.size


def _kv_shares(size: Size, count: int) -> int:
    """Over how many accelerators the KV cache is divided: a head is never cut, it is copied instead."""
    return min(count, size.kv_heads)


def _patches_at_once(card: ModelCard) -> int:
    """What the encoder computes at most in one go: as many of the largest images as one context holds."""
    images = max(1, card.context_tokens // card.vision.vision_tokens_max)
    return min(images, max(1, card.inputs.images_max)) * card.vision.encoder_patches_max
