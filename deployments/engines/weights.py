"""Where a card's weights lie on this node: in the checkout, at a hub, or copied once from S3 to the node's own disk."""

from pathlib import Path

from catalog.card import Source
from deployments.engines.s3_weights import WeightsError, copied


def locate(source: Source, checkout: Path, cache: Path) -> Path | str:
    """A local folder, or a hub id for the engine to resolve. Raises `WeightsError`."""
    if source.hub is not None:
        return source.hub
    if source.s3 is not None:
        return copied(source.s3, cache)
    folder = checkout / str(source.path)
    if not folder.is_dir():
        raise WeightsError(f"there are no weights in {folder}; correct the card's source.path")
    return folder
