"""Our own server on Transformers: card -> command line. Pure. Facts: `docs/engines.md`."""

import json
from typing import Any

from catalog import CardError, ModelCard
from catalog.vision import Qwen2Vl, SmolVlm2
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import ENGINE_SIDE, Flags, Launch, Place, arguments

SERVER = ENGINE_SIDE / "transformers_server.py"
# What it takes of a request, see `engines/openai_chat/asked.py`.
PARAMETERS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
        "stop",
        "stop_token_ids",
        "min_tokens",
        "ignore_eos",
        "skip_special_tokens",
        "response_format",
    }
)
# Of one batch, unless the card's options say otherwise.
BATCH_SEQUENCES_MAX = 8
BATCH_VISION_TOKENS_MAX = 8192


def transformers(card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
    """See `Launcher`. Raises `CardError` for a card that promises what the server has not."""
    _check(card)
    # The card's options cannot undo what follows.
    flags: Flags = {
        "batch-sequences-max": min(BATCH_SEQUENCES_MAX, card.engine.sequences_max),
        "batch-vision-tokens-max": BATCH_VISION_TOKENS_MAX,
        **card.engine.options,
    }
    flags |= {
        "model-name": card.served_name,
        "host": place.host,
        "port": place.port,
        "context-tokens": card.context_tokens,
        "images-max": card.inputs.images_max,
        "videos-max": int(card.inputs.video),
        "processor": json.dumps(_processor(card), separators=(",", ":")),
    }
    if card.source.hub:
        flags["revision"] = str(card.source.revision)
    variables = card.engine.environment | {"ENGINE_TOKEN": place.token, "DO_NOT_TRACK": "1"}
    if not card.source.hub:
        variables["HF_HUB_OFFLINE"] = "1"
    return Launch(
        (str(environment.python), str(SERVER), str(place.weights), *arguments(flags)),
        variables,
        hub=bool(card.source.hub),
    )


def _check(card: ModelCard) -> None:
    if promised := set(card.supported_parameters) - PARAMETERS:
        raise CardError(
            f"{card.served_name}: our Transformers server takes no {', '.join(sorted(promised))}; "
            "remove them from supported_parameters"
        )
    if card.accelerators.count > 1:
        raise CardError(
            f"{card.served_name}: our Transformers server uses one accelerator; set accelerators.count to 1"
        )


def _processor(card: ModelCard) -> dict[str, Any]:
    """The card's vision settings, where the model's processor has any: every image gets them."""
    match card.vision:
        case Qwen2Vl() as vision:
            return {"size": {"shortest_edge": vision.pixels_min, "longest_edge": vision.pixels_max}}
        case SmolVlm2() as vision:
            return {"size": {"longest_edge": vision.long_edge_px}}
    return {}
