"""The rendered manifests under test: committed renders, so that no check but the first needs `kubectl`."""

import copy
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
OVERLAYS = ("dev-cpu", "prod", "spot")
RENDERS = (*OVERLAYS, "cluster")

Manifest = dict[str, Any]


def folder(name: str) -> Path:
    """Where `kubectl kustomize` finds it."""
    return CHECKOUT / "k8s" / ("cluster" if name == "cluster" else f"overlays/{name}")


def golden(name: str) -> list[Manifest]:
    """The committed render of an overlay, or of `cluster`; a copy each time, so a test may break it."""
    return copy.deepcopy(_golden(name))


@cache
def _golden(name: str) -> list[Manifest]:
    return manifests((GOLDEN / f"{name}.yaml").read_text())


def manifests(text: str) -> list[Manifest]:
    return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def kustomized(name: str) -> str:
    """A render as it would be applied."""
    if shutil.which("kubectl") is None:
        pytest.skip(
            "kubectl is not installed, so the manifests cannot be rendered; the committed renders are checked all the same"
        )
    return subprocess.run(["kubectl", "kustomize", folder(name)], check=True, capture_output=True, text=True).stdout


def one(found: list[Manifest], kind: str, name: str = "vlmfleet") -> Manifest:
    (manifest,) = (each for each in found if each["kind"] == kind and each["metadata"]["name"] == name)
    return manifest


def serve_config(found: list[Manifest]) -> Manifest:
    config: Manifest = yaml.safe_load(one(found, "RayService")["spec"]["serveConfigV2"])
    return config
