"""The root of a model's application, with nothing to do.

Where HAProxy is on, Serve lets it balance between the replicas of a root by itself, and refuses a request router there. So
the engine, whose replicas are chosen by a router of ours, stands behind a root of its own.
"""

from typing import Any

from ray.serve.handle import DeploymentHandle

from catalog.card import ModelCard

DOOR = "Door"


def engine_name(card: ModelCard) -> str:
    """The deployment behind the door."""
    return f"Engine-{card.served_name}"


class Door:
    """Takes no requests; gateways call the engine itself."""

    def __init__(self, engine: DeploymentHandle[Any]) -> None:
        """`engine` is named here to be deployed."""
