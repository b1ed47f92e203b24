"""The command line of our Transformers server, as a function of a card."""

import json
from pathlib import Path
from typing import Any

import pytest

from catalog import CardError, ModelCard, load_catalog
from catalog.catalog import load_card
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Place
from deployments.engines.transformers import SERVER, transformers
from tests.engines.flags import TRUE, flags

TINY = load_card(Path(__file__).parents[1] / "models" / "tiny-smolvlm2.yaml")
CPU = EngineEnvironment(Path("/envs/transformers/bin/python"), "5.19.0", "cpu")
GPU = EngineEnvironment(Path("/envs/transformers/bin/python"), "5.19.0", "gpu")
PLACE = Place("127.0.0.2", 4321, "engine-token", Path("/weights/smolvlm2"))


def card(**changes: Any) -> ModelCard:
    return ModelCard.model_validate(TINY.model_dump() | changes)


def with_options(**options: Any) -> ModelCard:
    return card(engine=TINY.engine.model_dump() | {"options": options})


LAUNCH = transformers(TINY, CPU, PLACE)
FLAGS = flags(LAUNCH)


def test_the_server_is_started_in_its_own_environment():
    """On the replica's own address, under the name that requests carry."""
    assert LAUNCH.command[:3] == ("/envs/transformers/bin/python", str(SERVER), "/weights/smolvlm2")
    assert SERVER.is_file()
    assert FLAGS["model-name"] == TINY.served_name
    assert (FLAGS["host"], FLAGS["port"]) == ("127.0.0.2", "4321")


def test_the_token_is_in_no_command_line():
    """Every user of a machine can read command lines; the environment is its owner's."""
    assert "engine-token" not in " ".join(LAUNCH.command)
    assert LAUNCH.environment["ENGINE_TOKEN"] == "engine-token"


def test_the_cards_limits_are_the_servers():
    """Context, media and pixels; what a request says of an image does not count."""
    assert FLAGS["context-tokens"] == "8192"
    assert (FLAGS["images-max"], FLAGS["videos-max"]) == ("3", "1")
    assert json.loads(FLAGS["processor"]) == {"size": {"longest_edge": 1024}}


def test_qwen2_vl_is_bounded_in_pixels():
    """As it is on vLLM."""
    vision = {"family": "qwen2_vl", "pixels_min": 3136, "pixels_max": 1003520}
    bounded = flags(transformers(card(vision=vision), CPU, PLACE))["processor"]
    assert json.loads(bounded) == {"size": {"shortest_edge": 3136, "longest_edge": 1003520}}


@pytest.mark.parametrize(("sequences_max", "batched"), [(1, "1"), (8, "8"), (64, "8")])
def test_a_batch_is_no_larger_than_what_a_replica_takes(sequences_max: int, batched: str):
    """And small, unless the card says otherwise."""
    found = flags(transformers(card(engine=TINY.engine.model_dump() | {"sequences_max": sequences_max}), CPU, PLACE))
    assert found["batch-sequences-max"] == batched


def test_a_cards_options_are_added_and_cannot_undo_ours():
    """What the card's own fields say stays."""
    options = {"trust-remote-code": True, "batch-sequences-max": 16, "context-tokens": 99, "images-max": 99}
    found = flags(transformers(with_options(**options), CPU, PLACE))
    assert found["trust-remote-code"] == TRUE
    assert found["batch-sequences-max"] == "16"
    assert (found["context-tokens"], found["images-max"]) == ("8192", "3")


def test_a_hub_model_is_pinned_to_its_revision():
    """Every replica serves the same weights, whatever the hub says tomorrow."""
    launch = transformers(card(source={"hub": "HuggingFaceTB/SmolVLM2", "revision": "abc"}), GPU, PLACE)
    assert flags(launch)["revision"] == "abc"
    assert "HF_HUB_OFFLINE" not in launch.environment
    assert LAUNCH.environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supported_parameters": ["seed", "logit_bias", "logprobs"]}, "takes no logit_bias, logprobs; remove them"),
        ({"accelerators": {"kind": "L4", "count": 2, "usd_per_hour": "1"}}, "uses one accelerator"),
    ],
)
def test_a_card_that_promises_too_much_is_refused(changes: dict[str, Any], message: str):
    """By name, before anything is started."""
    with pytest.raises(CardError, match=message):
        transformers(card(**changes), CPU, PLACE)


@pytest.mark.parametrize("card", [card for card in load_catalog() if card.engine.name == "transformers"])
def test_the_catalogs_cards_can_be_started(card: ModelCard):
    """Each for the version that is installed."""
    launch = transformers(card, GPU, PLACE)
    assert card.engine.version == GPU.version
    assert flags(launch)["model-name"] == card.served_name
