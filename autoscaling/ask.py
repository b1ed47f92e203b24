"""What a model asks of the GPU pool, and what it gets."""

from dataclasses import dataclass

from autoscaling.offer import Offer


@dataclass(frozen=True, slots=True)
class Ask:
    """Replicas of one model. Those that run or start are `holding`; `draining` ones have their GPUs until they end."""

    model: str
    offer: Offer
    want: int
    floor: int = 0
    priority: float = 1.0
    benefits: tuple[float, ...] = ()  # violations an hour that replica 1, 2, ... avoids, never rising
    holding: int = 0
    draining: int = 0
    unpaid: bool = False  # one that it holds has not run yet as long as it took to start
    batch: int = 0  # replicas for batch-class work, on top of `want`

    @property
    def most(self) -> int:
        return max(self.want, self.floor)

    def worth(self, replica: int) -> float:
        """Of the one after so many: violations avoided for each nano-dollar, times the priority."""
        benefit = self.benefits[replica] if replica < len(self.benefits) else 0.0
        return self.priority * benefit / max(self.offer.hourly_nano_usd, 1)


@dataclass(frozen=True, slots=True)
class Grant:
    """Replicas that may run or start now. Those for batch-class work come on top: they were left over."""

    replicas: int
    batch: int = 0
