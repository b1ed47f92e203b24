"""LMDeploy: card -> command line of its API server. Pure. Facts: `docs/engines.md`."""

import json

from catalog import CardError, ModelCard
from catalog.vision import InternVl2, Qwen2Vl
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import ENGINE_SIDE, NO_MEDIA_DOMAIN, Flags, Launch, Place, arguments

# LMDeploy's own server with our chat endpoint.
SERVER = ENGINE_SIDE / "lmdeploy_server.py"
# What its chat endpoint takes of a request, see `engines/openai_chat/asked.py`.
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
BLOCK_TOKENS = 64
CPU_CACHE_TOKENS = 32_768


def lmdeploy(card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
    """See `Launcher`. TurboMind where there is a GPU, unless the card chooses; else the PyTorch engine on the CPU.

    Raises `CardError` for a card that promises what LMDeploy has not.
    """
    _check(card)
    # The card's options cannot undo what follows, the media lock least of all.
    flags: Flags = {"backend": "turbomind", **card.engine.options}
    flags |= {
        "model-name": card.served_name,
        "server-name": place.host,
        "server-port": place.port,
        "session-len": card.context_tokens,
        "max-batch-size": card.engine.sequences_max,
        "allowed-media-domains": NO_MEDIA_DOMAIN,
        # The request alone decides about sampling, not a file beside the weights.
        "generation-config": "lmdeploy",
        "disable-fastapi-docs": True,
    }
    if card.source.hub:
        flags["revision"] = str(card.source.revision)
    if card.accelerators.count > 1:
        flags["tp"] = card.accelerators.count
    variables = card.engine.environment | {
        "ENGINE_TOKEN": place.token,
        "LMDEPLOY_IMAGE": json.dumps(_image(card)),
        "UVICORN_LOG_LEVEL": "warning",
    }
    if environment.build == "cpu":
        cache_tokens = max(CPU_CACHE_TOKENS, card.context_tokens)
        flags |= {"backend": "pytorch", "num-gpu-blocks": -(-cache_tokens // BLOCK_TOKENS)}
        variables["LMDEPLOY_CPU"] = "1"
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
            f"{card.served_name}: lmdeploy takes no {', '.join(sorted(promised))}; remove them from supported_parameters"
        )
    if card.inputs.video:
        raise CardError(f"{card.served_name}: lmdeploy takes no video; set inputs.video to false")


def _image(card: ModelCard) -> dict[str, int]:
    """What is said of every image: LMDeploy's server has no settings for its processors."""
    match card.vision:
        case InternVl2() as vision:
            return {"max_dynamic_patch": vision.tiles_max}
        case Qwen2Vl() as vision:
            return {"min_pixels": vision.pixels_min, "max_pixels": vision.pixels_max}
    return {}
