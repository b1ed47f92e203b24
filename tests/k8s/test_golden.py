"""The renders are committed, so a reviewer sees what a change of cards, fleets or manifests does to a running cluster."""

import pytest

from deployments.kubernetes.changes import changes_of
from deployments.kubernetes.overlay import render
from tests.k8s.manifests import CHECKOUT, OVERLAYS, RENDERS, folder, golden, kustomized, manifests


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_written_from_the_cards_is_up_to_date(overlay: str):
    """Otherwise run: vlmfleet k8s render."""
    files = render(folder(overlay), CHECKOUT / "catalog" / "cards").files
    assert {name: (folder(overlay) / name).read_text() for name in files} == files


@pytest.mark.parametrize("name", RENDERS)
def test_the_committed_render_is_what_kustomize_makes(name: str):
    """Otherwise look at the effects below, and run: make k8s-golden."""
    changes = changes_of(golden(name), manifests(kustomized(name)))
    assert not changes, "\n".join(["a running cluster would see:", *map(str, changes), "accept with: make k8s-golden"])
