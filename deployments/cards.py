"""The cards on this node. In Kubernetes a volume shows new ones a minute after they were applied, the Serve config at once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from catalog import CardError, Catalog, load_catalog
from catalog.revision import Concern, revision

# The kubelet looks once a minute, and its cache may be a minute old.
PATIENCE_S = 240.0
POLL_S = 1.0


def cards_of(
    folder: Path, names: Sequence[str], wanted: str, concern: Concern, sleep: Callable[[float], None] = time.sleep
) -> Catalog:
    """The cards of these models, as soon as their revision is the `wanted` one; as they are, if that is empty.

    Raises `CardError`.
    """
    for _ in range(round(PATIENCE_S / POLL_S)):
        if not wanted or revision(folder, names, concern) == wanted:
            return load_catalog(folder).pick(names)
        sleep(POLL_S)
    raise CardError(
        f"{folder}: the cards here are not those that this Serve config was rendered from (revision {wanted}); "
        "apply cards.yaml of the same `vlmfleet k8s render`, then the Serve config again"
    )
