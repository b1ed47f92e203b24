"""vLLM: card -> command line of its OpenAI server. Pure. Facts: `docs/engines.md`."""

import json
from typing import Any

from catalog import CardError, ModelCard
from catalog.vision import InternVl2, Qwen2Vl, SmolVlm2
from deployments.engines.environment import OLDER, EngineEnvironment
from deployments.engines.launch import ENGINE_SIDE, NO_MEDIA_DOMAIN, Flags, Launch, Place, arguments

# The `vllm serve` command of the CPU build asks for the metadata of a distribution named `vllm`, and fails.
SERVER_MODULE = "vllm.entrypoints.openai.api_server"
# The last is in front of all: vLLM's own token guards some of its paths only.
LAYERS = ("vllm_bounds.Bounds", "bearer.Bearer")
CPU_KV_CACHE_GIB = 1


def vllm(card: ModelCard, environment: EngineEnvironment, place: Place) -> Launch:
    """See `Launcher`. The token travels in the environment: command lines can be read by every user of the machine."""
    # The card's options come first: they cannot undo what follows, the media lock least of all.
    flags: Flags = {
        **card.engine.options,
        "model": str(place.weights),
        "served-model-name": card.served_name,
        "host": place.host,
        "port": place.port,
        "max-model-len": card.context_tokens,
        "max-num-seqs": card.engine.sequences_max,
        "limit-mm-per-prompt": _json({"image": card.inputs.images_max, "video": int(card.inputs.video)}),
        **_processor(card),
        "allowed-media-domains": NO_MEDIA_DOMAIN,
        "enable-prompt-tokens-details": True,
        "enable-force-include-usage": True,
        # The request alone decides about sampling, not a file beside the weights.
        "generation-config": "vllm",
        "disable-uvicorn-access-log": True,
        "middleware": LAYERS,
        # No other backend: what xgrammar refuses vLLM would give to one that takes hours and all memory for 3 kB of schema.
        # Without white space: it would be allowed without end, and a small model writes nothing else.
        "structured-outputs-config": _json({"backend": "xgrammar", "disable_any_whitespace": True}),
    }
    if (card.engine.name, card.engine.version) not in OLDER:
        # Its `/inference/v1/abort_requests`, by which a gateway ends what nobody waits for.
        flags["enable-scale-out"] = True
    if card.inputs.video:
        # The rate of a video's frames differs from request to request; our gateway alone sets it, clients cannot.
        flags["trust-request-mm-kwargs"] = True
    if card.source.hub:
        flags["revision"] = str(card.source.revision)
    if card.accelerators.count > 1:
        flags["tensor-parallel-size"] = card.accelerators.count
    # Of a card with one accelerator the worker runs inside the engine core. On a CPU it would be a process of its own, and
    # the two would wait for each other by spinning. On a GPU it is so by itself.
    one_process = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if card.accelerators.count <= 1 else {}
    # A server is on one node. Torch would choose the interface that the node's name stands for, and listen on it.
    variables = {"GLOO_SOCKET_IFNAME": "lo"} | one_process | card.engine.environment
    variables |= {
        "ENGINE_TOKEN": place.token,
        "PYTHONPATH": str(ENGINE_SIDE),
        # By itself it takes 4. A request has at most half as many, the card the rest.
        "VLLM_MAX_STOP_STRINGS": "256",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    if environment.build == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(CPU_KV_CACHE_GIB)
    if not card.source.hub:
        variables["HF_HUB_OFFLINE"] = "1"
    return Launch(
        (str(environment.python), "-m", SERVER_MODULE, *arguments(flags)), variables, hub=bool(card.source.hub)
    )


def _processor(card: ModelCard) -> dict[str, str]:
    """The card's vision settings, where the model's processor has any. Raises `CardError` for Moondream 2."""
    match card.vision:
        case Qwen2Vl() as vision:
            settings: dict[str, Any] = {"min_pixels": vision.pixels_min, "max_pixels": vision.pixels_max}
        case InternVl2() as vision:
            settings = {"max_dynamic_patch": vision.tiles_max}
        case SmolVlm2() as vision:
            settings = {"size": {"longest_edge": vision.long_edge_px}}
        case vision if vision.family == "moondream2":
            # Its architecture's name is registered to Moondream 3, which takes the weights without complaint.
            raise CardError(f"{card.served_name}: vLLM would load it as Moondream 3; its engine is transformers")
        case _:
            return {}
    return {"mm-processor-kwargs": _json(settings)}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
