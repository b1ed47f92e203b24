"""`vlmfleet k8s render`: the manifests of `k8s/` from the cards."""

from pathlib import Path
from typing import Annotated

import typer

from catalog import CardError
from catalog.catalog import CARDS
from cli.failed import Failed
from deployments.kubernetes.overlay import FleetError, overlays, render, write

OVERLAYS = Path("k8s/overlays")

Cards = Annotated[Path, typer.Option(envvar="VLMFLEET_CARDS", help="The folder of the cards.")]


def render_overlays(
    folders: Annotated[list[Path] | None, typer.Argument(help="Overlays. Default: all below k8s/overlays.")] = None,
    cards: Cards = CARDS,
) -> None:
    """Write the Serve config, worker groups, cards and prefetch Job of overlays, from their fleet.yaml and the cards."""
    found = folders or overlays(OVERLAYS)
    if not found:
        raise Failed(f"there is no fleet.yaml below {OVERLAYS}; name an overlay's folder")
    for overlay in found:
        try:
            rendered = render(overlay, cards)
        except (CardError, FleetError, OSError) as error:
            raise Failed(str(error)) from error
        for reason in rendered.left_out:
            print(f"{overlay.name}: without {reason}")
        print(f"{overlay.name}: {', '.join(write(overlay, rendered)) or 'nothing'} changed")
