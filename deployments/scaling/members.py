"""What the governor is told of its fleet when it starts: the models' cards, and the pool that they share."""

from collections.abc import Mapping

from accounting.money import NANO_USD
from autoscaling.offer import Offer
from autoscaling.pool import Pool, check
from catalog import Catalog
from catalog.card import ModelCard
from deployments.scaling.model import Member


def members_of(catalog: Catalog, priorities: Mapping[str, float]) -> list[Member]:
    """In the catalog's order. A replica on CPUs counts as one of the kind `cpu`."""
    return [
        Member(card.served_name, _offer(card), card.autoscaling.start_s, priorities.get(card.served_name, 1.0))
        for card in catalog
    ]


def pool_of(catalog: Catalog, gpus: Mapping[str, int], usd_per_hour_max: float | None) -> Pool | None:
    """GPUs by kind, without a bound if none are named; None if nothing at all is bounded.

    Raises `DoesNotFit` if the cards' least replicas together are more than the pool.
    """
    if not gpus and usd_per_hour_max is None:
        return None
    unbounded = {card.accelerators.kind: 2**31 for card in catalog}
    ceiling = None if usd_per_hour_max is None else round(usd_per_hour_max * NANO_USD)
    pool = Pool(dict(gpus) or unbounded, ceiling)
    check(pool, [(_offer(card), card.autoscaling.replicas_min) for card in catalog])
    return pool


def _offer(card: ModelCard) -> Offer:
    accelerators = card.accelerators
    return Offer(accelerators.kind, max(accelerators.count, 1), accelerators.rent_nano_per_hour)
