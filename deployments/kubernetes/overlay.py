"""An overlay's folder: `fleet.yaml` is read, and what follows from it and the cards is written beside it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from catalog import Catalog, load_catalog
from catalog.revision import revision
from deployments.kubernetes.applications import serve_config
from deployments.kubernetes.fleet import Fleet
from deployments.kubernetes.pools import choose, pools_of
from deployments.kubernetes.prefetch import prefetch_job
from deployments.kubernetes.worker_groups import worker_groups

HEADER = "# Written by `vlmfleet k8s render` from fleet.yaml and the cards; do not edit.\n"
FLEET, SERVE, GROUPS, CARDS, PREFETCH = (
    "fleet.yaml",
    "serve-config.yaml",
    "worker-groups.yaml",
    "cards.yaml",
    "prefetch.yaml",
)
LIST_END = "/spec/rayClusterConfig/workerGroupSpecs/-"


class FleetError(ValueError):
    """A `fleet.yaml` cannot be used. The message names the file, the field and the fault."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What belongs into an overlay's folder, by file name, and why models of the catalog are left out."""

    files: dict[str, str]
    left_out: list[str]


def overlays(folder: Path) -> list[Path]:
    """The overlays below `folder`: those with a `fleet.yaml`."""
    return sorted(file.parent for file in folder.glob(f"*/{FLEET}"))


def render(overlay: Path, cards: Path) -> Rendered:
    """Nothing is written. Raises `CardError` or `FleetError`."""
    fleet, catalog = load_fleet(overlay / FLEET), load_catalog(cards)
    models, left_out = choose(fleet, catalog)
    groups = worker_groups(fleet, pools_of(fleet, models), _standing(overlay / GROUPS))
    files = {
        SERVE: _document(serve_config(fleet, models, partial(revision, cards))),
        GROUPS: _document([{"op": "add", "path": LIST_END, "value": group} for group in groups]),
        CARDS: _document(_cards(cards, models)),
    }
    job = prefetch_job(fleet, models)
    return Rendered(files | ({PREFETCH: _document(job)} if job else {}), left_out)


def write(overlay: Path, rendered: Rendered) -> list[str]:
    """The names of the files that have changed."""
    changed = [name for name, text in rendered.files.items() if _read(overlay / name) != text]
    for name in changed:
        (overlay / name).write_text(rendered.files[name], encoding="utf-8")
    return changed


def load_fleet(file: Path) -> Fleet:
    """Raises `FleetError`."""
    try:
        return Fleet.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise FleetError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise FleetError(f"{file}: {faults}") from error


def _standing(file: Path) -> list[dict[str, Any]]:
    text = _read(file)
    return [step["value"] for step in yaml.safe_load(text)] if text else []


def _cards(folder: Path, models: Catalog) -> dict[str, Any]:
    """The models' cards as they are, for every pod: an image knows no model."""
    names = {card.served_name for card in models}
    texts = {file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))}
    data = {name: text for name, text in texts.items() if yaml.safe_load(text)["served_name"] in names}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vlmfleet-cards"}, "data": data}


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors: what is written is read by people."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _document(value: object) -> str:
    return HEADER + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120)
