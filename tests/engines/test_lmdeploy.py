"""The command line of LMDeploy's server, as a function of a card."""

import json
from pathlib import Path
from typing import Any

import pytest

from catalog import CardError, ModelCard, load_catalog
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Place
from deployments.engines.lmdeploy import SERVER, lmdeploy
from tests.engines.flags import TRUE, flags
from tests.models.internvl2 import CARD as TINY

CPU = EngineEnvironment(Path("/envs/lmdeploy/bin/python"), "0.18.0", "cpu")
GPU = EngineEnvironment(Path("/envs/lmdeploy/bin/python"), "0.18.0", "gpu")
PLACE = Place("127.0.0.2", 4321, "engine-token", Path("/weights/internvl2"))


def card(**changes: Any) -> ModelCard:
    return ModelCard.model_validate(TINY.model_dump() | changes)


LAUNCH = lmdeploy(TINY, CPU, PLACE)
FLAGS = flags(LAUNCH)


def test_the_server_is_started_in_the_engines_own_environment():
    """On the replica's own address, under the name that requests carry."""
    assert LAUNCH.command[:3] == ("/envs/lmdeploy/bin/python", str(SERVER), "/weights/internvl2")
    assert SERVER.is_file()
    assert FLAGS["model-name"] == TINY.served_name
    assert (FLAGS["server-name"], FLAGS["server-port"]) == ("127.0.0.2", "4321")


@pytest.mark.parametrize("environment", [CPU, GPU])
def test_the_token_is_in_no_command_line(environment: EngineEnvironment):
    """Every user of a machine can read command lines; the environment is its owner's."""
    launch = lmdeploy(TINY, environment, PLACE)
    assert "engine-token" not in " ".join(launch.command)
    assert launch.environment["ENGINE_TOKEN"] == "engine-token"
    assert "api-keys" not in flags(launch)


def test_without_a_gpu_the_pytorch_engine_runs_on_the_cpu():
    """Its cache is of a given size: nothing measures a CPU's memory."""
    assert FLAGS["backend"] == "pytorch"
    assert LAUNCH.environment["LMDEPLOY_CPU"] == "1"
    assert int(FLAGS["num-gpu-blocks"]) * 64 >= TINY.context_tokens


def test_on_a_gpu_turbomind_runs_unless_the_card_chooses():
    """With all the memory that it is allowed."""
    launch = lmdeploy(TINY, GPU, PLACE)
    assert flags(launch)["backend"] == "turbomind"
    assert "num-gpu-blocks" not in flags(launch)
    assert "LMDEPLOY_CPU" not in launch.environment
    chosen = card(engine=TINY.engine.model_dump() | {"options": {"backend": "pytorch"}})
    assert flags(lmdeploy(chosen, GPU, PLACE))["backend"] == "pytorch"


def test_the_engine_fetches_no_media():
    """It gets inline data only; an empty list of domains would mean all."""
    assert FLAGS["allowed-media-domains"] == "media.invalid"


def test_the_cards_limits_are_the_engines():
    """Context and batch by flags, tiles with every image."""
    assert FLAGS["session-len"] == "8192"
    assert FLAGS["max-batch-size"] == "16"
    assert json.loads(LAUNCH.environment["LMDEPLOY_IMAGE"]) == {"max_dynamic_patch": 12}


def test_qwen2_vl_is_bounded_in_pixels():
    """As it is on vLLM."""
    vision = {"family": "qwen2_vl", "pixels_min": 3136, "pixels_max": 1003520}
    bounded = lmdeploy(card(vision=vision), CPU, PLACE).environment["LMDEPLOY_IMAGE"]
    assert json.loads(bounded) == {"min_pixels": 3136, "max_pixels": 1003520}


def test_the_request_alone_decides_about_sampling():
    """No file beside the weights changes an answer."""
    assert FLAGS["generation-config"] == "lmdeploy"


def test_a_hub_model_is_pinned_to_its_revision():
    """Every replica serves the same weights, whatever the hub says tomorrow."""
    launch = lmdeploy(card(source={"hub": "OpenGVLab/InternVL2-2B", "revision": "abc"}), GPU, PLACE)
    assert flags(launch)["revision"] == "abc"
    assert "HF_HUB_OFFLINE" not in launch.environment
    assert LAUNCH.environment["HF_HUB_OFFLINE"] == "1"
    assert (launch.hub, LAUNCH.hub) == (True, False)


@pytest.mark.parametrize(("kind", "count", "parallel"), [("cpu", 0, None), ("H200", 1, None), ("H200", 4, "4")])
def test_several_gpus_share_one_model(kind: str, count: int, parallel: str | None):
    """By tensor parallelism, as many as the card says."""
    launch = lmdeploy(card(accelerators={"kind": kind, "count": count, "usd_per_hour": "1"}), GPU, PLACE)
    assert flags(launch).get("tp") == parallel


def test_a_cards_options_are_added_and_cannot_undo_ours():
    """What the card's own fields say stays, and so does the media lock."""
    options = {"trust-remote-code": True, "enable-prefix-caching": False, "allowed-media-domains": "example.org"}
    found = flags(lmdeploy(card(engine=TINY.engine.model_dump() | {"options": options}), GPU, PLACE))
    assert found["trust-remote-code"] == TRUE
    assert found["allowed-media-domains"] == "media.invalid"
    assert "enable-prefix-caching" not in found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supported_parameters": ["seed", "logit_bias", "logprobs"]}, "takes no logit_bias, logprobs; remove them"),
        ({"inputs": {"video": True}}, "takes no video"),
    ],
)
def test_a_card_that_promises_too_much_is_refused(changes: dict[str, Any], message: str):
    """By name, before anything is started."""
    with pytest.raises(CardError, match=message):
        lmdeploy(card(**changes), CPU, PLACE)


@pytest.mark.parametrize("card", [card for card in load_catalog() if card.engine.name == "lmdeploy"])
def test_the_catalogs_cards_can_be_started(card: ModelCard):
    """Each for the engine's version that is installed, and made for."""
    launch = lmdeploy(card, GPU, PLACE)
    assert card.engine.version == GPU.version
    assert flags(launch)["backend"] == "turbomind"
