"""What of a request an engine gets to see, and the work that it is there."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from catalog.card import ModelCard
from deployments.files.file import Owner
from deployments.gateway.request import Place


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, a page of a document, or a video, as the engine gets it.

    `sha256` is its identity, see `identity`; `place` the part of the request that it came from. A video's `frames_per_s`
    are those of its frames here, not of the clip that they were taken from.
    """

    data_url: str
    sha256: str
    vision_tokens: int
    encoder_patches: int = 0
    place: Place = field(default_factory=Place)
    kind: Literal["image", "video"] = "image"
    frames: int = 1
    frames_per_s: float = 0.0


def identity(content: bytes, card: ModelCard, owner: Owner) -> str:
    """Names the very pixels, as this model's processor makes them, for this organisation alone.

    The key of engines' caches and of routing. It is never the caller's to choose: two pictures under one name would show
    an engine the wrong one.
    """
    return _sha256([owner.org_id.encode(), _model(card), content])


def _model(card: ModelCard) -> bytes:
    return f"{card.id}@{card.source.revision}:{card.vision.model_dump_json()}".encode()


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()
