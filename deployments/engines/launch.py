"""How an engine server is started, as a value; one small module an engine makes it from a card."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from catalog.card import ModelCard
from deployments.engines.environment import EngineEnvironment
from deployments.port import free_port
from deployments.secret import new_secret

# By name; True is a flag alone, False is none, a tuple a flag said several times.
Flags: TypeAlias = dict[str, str | int | float | bool | tuple[str, ...]]

# What runs in an engine's environment. Nothing of it is imported here.
ENGINE_SIDE = Path(__file__).parents[2] / "engines"
# For engines that fetch images from the domains of a list, where an empty list would mean all: it can never exist
# (RFC 2606).
NO_MEDIA_DOMAIN = "media.invalid"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one engine server runs: made up by its replica."""

    host: str
    port: int
    token: str
    weights: Path | str

    @classmethod
    def anew(cls, host: str, weights: Path | str) -> "Place":
        """A free port, and a secret of its own."""
        return cls(host, free_port(host), new_secret(), weights)


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line and the environment variables that it adds. `hub`: it fetches its weights from one by itself."""

    command: tuple[str, ...]
    environment: dict[str, str]
    hub: bool = False


class Launcher(Protocol):
    """Pure: the same card, environment and place give the same launch."""

    def __call__(self, card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
        """How to start this card's engine server in its own environment."""


def arguments(flags: Flags) -> list[str]:
    """As words of a command line."""
    words = []
    for name, value in flags.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            for one in value if isinstance(value, tuple) else (value,):
                words += [f"--{name}", str(one)]
    return words
