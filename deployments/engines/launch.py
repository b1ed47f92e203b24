"""How an engine server is started, as a value; one small module an engine makes it from a card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from catalog.card import ModelCard
from deployments.engines.environment import EngineEnvironment


@dataclass(frozen=True, slots=True)
class Place:
    """Where one engine server runs: made up by its replica."""

    host: str
    port: int
    token: str
    weights: Path | str


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line and the environment variables that it adds."""

    command: tuple[str, ...]
    environment: dict[str, str]


class Launcher(Protocol):
    """Pure: the same card, environment and place give the same launch."""

    def __call__(self, card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
        """How to start this card's engine server in its own environment."""
