"""Finding the governor from any process of the cluster."""

from typing import Any

import ray

GOVERNOR = "governor"
NAMESPACE = "vlmfleet"


def find_governor() -> Any | None:
    """Its handle, None if there is none. One call to the cluster's head, a millisecond or two: not for a hot path."""
    try:
        return ray.get_actor(GOVERNOR, namespace=NAMESPACE)
    except ValueError:
        return None
