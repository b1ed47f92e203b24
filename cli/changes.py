"""`vlmfleet k8s changes`: what a new render of the manifests does to a running cluster."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from cli.failed import Failed
from deployments.kubernetes.changes import Manifest, changes_of, is_manifest


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
