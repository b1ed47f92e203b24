"""`vlmfleet k8s`: the manifests of `k8s/` from the cards, and what a change of them does to a running cluster."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from catalog import CardError
from catalog.catalog import CARDS
from cli.failed import Failed
from deployments.kubernetes.changes import Manifest, changes_of, is_manifest
from deployments.kubernetes.overlay import FleetError, overlays, render, write

OVERLAYS = Path("k8s/overlays")

app = typer.Typer(no_args_is_help=True, help="Manifests for Kubernetes, from the cards.")
Cards = Annotated[Path, typer.Option(envvar="VLMFLEET_CARDS", help="The folder of the cards.")]


@app.command("render")
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


@app.command("changes")
def show_changes(
    running: Annotated[Path, typer.Argument(help="What runs: an older `kubectl kustomize`.")],
    wanted: Annotated[Path, typer.Argument(help="What is to run.")],
) -> None:
    """What applying a new render does: in place, a group appended, or a new cluster beside the old one."""
    for change in changes_of(_render(running), _render(wanted)):
        print(change)


def _render(file: Path) -> list[Manifest]:
    """The objects of a render. Raises `Failed`."""
    try:
        documents = list(filter(None, yaml.safe_load_all(file.read_text())))
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failed(f"{file} is no YAML; give it the output of `kubectl kustomize`") from error
    for number, document in enumerate(documents, start=1):
        if not is_manifest(document):
            raise Failed(
                f"{file}: document {number} is no Kubernetes object; give it the output of `kubectl kustomize`"
            )
    return documents
