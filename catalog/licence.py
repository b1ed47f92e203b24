"""Whether a model's licence lets it be served. Pure: decided before anything is downloaded or a GPU is taken."""

from collections.abc import Iterable

from catalog.card import ModelCard
from catalog.catalog import CardError


def check_licence(card: ModelCard, accepted: Iterable[str]) -> None:
    """Raise `CardError` for a model whose licence forbids a paid hosted API, unless `accepted` holds one of its names."""
    if card.licence.hosted_api == "no" and card.names.isdisjoint(accepted):
        raise CardError(
            f"{card.served_name}: the licence ({card.licence.name}) does not allow a paid hosted API: "
            f"{'; '.join(card.licence.conditions)}. If your use is within it, or you have another agreement with the "
            f"publisher, start the model with licence_accepted: [{card.served_name}]"
        )
