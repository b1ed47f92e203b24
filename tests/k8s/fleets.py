"""Fleets and cards of tests."""

from typing import Any

from catalog import Catalog, ModelCard, load_catalog
from deployments.kubernetes.fleet import Fleet

CARDS = load_catalog()


def fleet(**changes: Any) -> Fleet:
    """Two engines on two kinds of accelerators."""
    return Fleet.model_validate(
        {
            "models": "every",
            "images": {
                "vllm": {"image": "registry.example.com/vllm", "version": "0.32.0"},
                "lmdeploy": {"image": "registry.example.com/lmdeploy", "version": "0.18.0"},
            },
            "accelerators": {
                "L4": {"cpus": 6, "memory_gib": 24, "scratch_gib": 80, "accelerators_max": 24},
                "A100-80": {"cpus": 10, "memory_gib": 120, "scratch_gib": 200, "accelerators_max": 24},
            },
            "gateway": {"replicas": 2, "replicas_per_node_max": 1},
            "files": "s3://bucket/prefix",
        }
        | changes
    )


def card(name: str = "qwen2-vl-2b-instruct", **changes: Any) -> ModelCard:
    """A card of the catalog, with some parts changed: `accelerators={"count": 2}`."""
    found = CARDS.find(name)
    assert found
    data = found.model_dump()
    for part, change in changes.items():
        data[part] = data[part] | change if isinstance(change, dict) else change
    return ModelCard.model_validate(data)


def catalog(*cards: ModelCard) -> Catalog:
    return Catalog(cards)
