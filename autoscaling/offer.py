"""GPU types: what a replica of a model costs on each, and how fast it is there."""

from collections.abc import Iterable
from dataclasses import dataclass


class NoOffer(ValueError):
    """No GPU type is fast enough for the model's largest allowed image."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A replica of one model on one GPU type."""

    gpu: str
    gpus: int = 1  # of a replica
    hourly_nano_usd: int = 0  # of a replica
    speed: float = 1.0  # work in a second, of what the reference type does
    largest_ttft_s: float = 0.0  # of the largest allowed image, with nothing before it


def cheapest(offers: Iterable[Offer], ttft_s: float) -> Offer:
    """The least money for the same work, of the types that answer the largest image in time. Raises NoOffer."""
    in_time = [offer for offer in offers if offer.largest_ttft_s <= ttft_s]
    if not in_time:
        raise NoOffer(f"no GPU type answers the model's largest image within {ttft_s:g} s; lower the card's pixel cap")
    return min(in_time, key=lambda offer: (offer.hourly_nano_usd / offer.speed, offer.gpu))
