"""`GET /v1/models`: the cards as OpenAI's and OpenRouter's clients read them. Pure."""

from datetime import UTC, datetime
from typing import Any

from accounting.money import usd
from catalog import Catalog, ModelCard
from catalog.card import CardPrice, Shutdown
from deployments.gateway.errors import ModelNotDeployed, ModelNotFound


def deployed(catalog: Catalog, name: str) -> ModelCard:
    """The card that answers to `name`. Raises `ModelNotFound`, or `ModelNotDeployed` for one that could be."""
    card = catalog.find(name)
    if card is None:
        raise ModelNotDeployed if catalog.leaves_out(name) else ModelNotFound
    return card


def model_object(card: ModelCard) -> dict[str, Any]:
    """One card. OpenAI's fields, then OpenRouter's, then ours."""
    modalities = ["text", *(["image"] if card.inputs.images_max else []), *(["video"] if card.inputs.video else [])]
    return {
        "id": card.served_name,
        "object": "model",
        "created": _unix(card.released),
        "owned_by": card.id.partition("/")[0],
        "canonical_slug": card.served_name,
        "name": card.title,
        "description": card.about,
        "context_length": card.context_tokens,
        "architecture": {
            "modality": f"{'+'.join(modalities)}->text",
            "input_modalities": modalities,
            "output_modalities": ["text"],
        },
        "top_provider": {
            "context_length": card.context_tokens,
            "max_completion_tokens": card.limits.output_tokens_max,
            "is_moderated": False,
        },
        "supported_parameters": ["max_completion_tokens", "max_tokens", "stream", *card.supported_parameters],
        "hugging_face_id": card.source.hub,
        "pricing": {
            "image": usd(card.price.unit_nano),
            "prompt": usd(card.price.text_token_nano),
            "completion": usd(card.price.output_token_nano),
            "request": "0",
        },
        "price_per_1k_images": str(card.price.usd_per_1k_images),
        "batch_price_per_1k_images": str(card.price.batch_usd_per_1k_images),
        "price_version": card.price.version,
        "price_basis": _basis(card.price),
        "image_tokens_rule": card.vision.family,
        "limits": {
            "images": card.inputs.images_max,
            "image_bytes": card.limits.image_bytes_max,
            "image_pixels": card.limits.image_pixels_max,
            "text_bytes": card.limits.text_bytes_max,
        },
        "aliases": sorted(card.names - {card.served_name}),
        "licence": card.licence.model_dump(mode="json", exclude_defaults=True),
        "benchmarks": [benchmark.model_dump() for benchmark in card.benchmarks],
        "engine": f"{card.engine.name} {card.engine.version}",
        **_end(card.shutdown),
    }


def _end(shutdown: Shutdown | None) -> dict[str, Any]:
    """For a model whose end is known."""
    if shutdown is None:
        return {}
    return {"expiration_date": shutdown.date.isoformat(), "successor": shutdown.successor}


def _basis(price: CardPrice) -> dict[str, Any]:
    return {"kind": price.state, **price.basis.model_dump(mode="json", exclude_none=True)}


def _unix(month: str) -> int:
    """Seconds since 1970 of a date "2024-08"."""
    return int(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).timestamp())
