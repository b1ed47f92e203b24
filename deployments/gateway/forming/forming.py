"""The queues of all models that this gateway serves."""

import time
from collections.abc import Callable

from catalog.card import ModelCard
from deployments.gateway.forming.former import Former, Load


class Forming:
    """`replicas` says how many replicas of a model run; 1 while none does, so that one request may start it."""

    def __init__(self, replicas: Callable[[ModelCard], int], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock_s = clock_s
        self._formers: dict[str, Former] = {}

    def of(self, card: ModelCard) -> Former:
        """The model's queue."""
        if card.id not in self._formers:
            self._formers[card.id] = Former(
                card.slo, card.engine.sequences_max, lambda: self._replicas(card), self._clock_s
            )
        return self._formers[card.id]

    def loads(self) -> dict[str, Load]:
        """How things stand, by card id, of every model that was asked for."""
        return {card_id: former.load() for card_id, former in self._formers.items()}
