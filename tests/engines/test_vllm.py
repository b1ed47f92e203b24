import json
from pathlib import Path
from typing import Any

import pytest

from catalog import CardError, ModelCard, load_catalog
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Place
from deployments.engines.vllm import vllm
from tests.engines.flags import TRUE, flags

CATALOG = load_catalog()
DEMO = CATALOG.find("demo-qwen2-vl")
CPU = EngineEnvironment(Path("/envs/vllm/bin/python"), "0.32.0", "cpu")
GPU = EngineEnvironment(Path("/envs/vllm/bin/python"), "0.32.0", "gpu")
PLACE = Place("127.0.0.2", 4321, "engine-token", Path("/checkout/demo/qwen2-vl"))


def card(**changes: Any) -> ModelCard:
    return ModelCard.model_validate(DEMO.model_dump() | changes)


LAUNCH = vllm(DEMO, CPU, PLACE)
FLAGS = flags(LAUNCH)


def test_the_server_is_started_in_the_engines_own_environment():
    """By its module, on the replica's own address, under the name that requests carry."""
    assert LAUNCH.command[:3] == ("/envs/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server")
    assert FLAGS["model"] == "/checkout/demo/qwen2-vl"
    assert FLAGS["served-model-name"] == DEMO.served_name
    assert (FLAGS["host"], FLAGS["port"]) == ("127.0.0.2", "4321")


@pytest.mark.parametrize("environment", [CPU, GPU])
def test_the_token_is_in_no_command_line(environment: EngineEnvironment):
    """Every user of a machine can read command lines; the environment is its owner's."""
    launch = vllm(DEMO, environment, PLACE)
    assert "engine-token" not in " ".join(launch.command)
    assert launch.environment["ENGINE_TOKEN"] == "engine-token"
    assert "api-key" not in flags(launch)


def test_every_path_is_behind_our_door():
    """vLLM's own token leaves `/invocations`, `/metrics` and more open; a card's options cannot take the door away."""
    options = {"middleware": "none.None"}
    for launch in (LAUNCH, vllm(card(engine=DEMO.engine.model_dump() | {"options": options}), GPU, PLACE)):
        module, _, name = flags(launch)["middleware"].rpartition(".")
        assert (Path(launch.environment["PYTHONPATH"]) / f"{module}.py").is_file()
        assert (module, name) == ("bearer", "Bearer")


def test_the_engine_fetches_no_media():
    """It gets inline data only: no domain is allowed, no redirect followed, no path read."""
    assert FLAGS["allowed-media-domains"] == "media.invalid"  # empty would mean all
    assert LAUNCH.environment["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert "allowed-local-media-path" not in FLAGS


def test_what_nobody_waits_for_can_be_ended_by_its_name():
    """The older vLLM knows no such flag, and would not start with it."""
    older = card(engine=DEMO.engine.model_dump() | {"version": "0.23.0"})
    assert FLAGS["enable-scale-out"] == TRUE
    assert "enable-scale-out" not in flags(vllm(older, GPU, PLACE))


def test_the_cards_limits_are_the_engines():
    """Context, batch, images and pixels: a price that was computed from the card holds in the engine."""
    assert FLAGS["max-model-len"] == "2048"
    assert FLAGS["max-num-seqs"] == "64"
    assert json.loads(FLAGS["limit-mm-per-prompt"]) == {"image": 8, "video": 0}
    assert json.loads(FLAGS["mm-processor-kwargs"]) == {"min_pixels": 12544, "max_pixels": 12544}


def test_the_engine_counts_what_we_charge():
    """Usage in every chunk, vision tokens apart."""
    assert FLAGS["enable-prompt-tokens-details"] == TRUE
    assert FLAGS["enable-force-include-usage"] == TRUE


def test_the_request_alone_decides_about_sampling():
    """No file beside the weights changes an answer."""
    assert FLAGS["generation-config"] == "vllm"


def test_its_processes_speak_on_loopback():
    """A server is on one node, whatever the node's name stands for."""
    assert LAUNCH.environment["GLOO_SOCKET_IFNAME"] == "lo"


def test_nothing_is_reported_to_anyone():
    """And nothing is downloaded for weights that lie in the checkout."""
    for name, value in {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}.items():
        assert LAUNCH.environment[name] == value


def test_a_hub_model_is_pinned_to_its_revision():
    """Every replica serves the same weights, whatever the hub says tomorrow."""
    launch = vllm(card(source={"hub": "Qwen/Qwen2-VL-7B-Instruct", "revision": "abc"}), GPU, PLACE)
    assert flags(launch)["revision"] == "abc"
    assert "HF_HUB_OFFLINE" not in launch.environment
    assert (launch.hub, LAUNCH.hub) == (True, False)


@pytest.mark.parametrize(("kind", "count", "parallel"), [("cpu", 0, None), ("H200", 1, None), ("H200", 4, "4")])
def test_several_gpus_share_one_model(kind: str, count: int, parallel: str | None):
    """By tensor parallelism, as many as the card says."""
    launch = vllm(card(accelerators={"kind": kind, "count": count, "usd_per_hour": "1"}), GPU, PLACE)
    assert flags(launch).get("tensor-parallel-size") == parallel


@pytest.mark.parametrize(("kind", "count", "value"), [("cpu", 0, "0"), ("H200", 1, "0"), ("H200", 4, None)])
def test_one_accelerator_has_one_process_unless_its_card_says_otherwise(kind: str, count: int, value: str | None):
    """Engine core and worker would spin waiting for each other, and take the CPU from all others."""
    name, accelerators = "VLLM_ENABLE_V1_MULTIPROCESSING", {"kind": kind, "count": count, "usd_per_hour": "1"}
    assert vllm(card(accelerators=accelerators), GPU, PLACE).environment.get(name) == value
    engine = DEMO.engine.model_dump() | {"environment": {name: "1"}}
    assert vllm(card(accelerators=accelerators, engine=engine), GPU, PLACE).environment[name] == "1"


def test_schemas_have_one_backend_and_bounds_before_it():
    """vLLM would give what xgrammar refuses to another one, which a schema of 3 kB can hang; and the token is in front of all."""
    assert json.loads(FLAGS["structured-outputs-config"]) == {"backend": "xgrammar", "disable_any_whitespace": True}
    words = LAUNCH.command
    assert [words[i + 1] for i, word in enumerate(words) if word == "--middleware"] == [
        "vllm_bounds.Bounds",
        "bearer.Bearer",
    ]


def test_only_the_cpu_build_is_told_its_cache_size():
    """On a GPU vLLM takes what is free."""
    assert int(LAUNCH.environment["VLLM_CPU_KVCACHE_SPACE"]) > 0
    assert "VLLM_CPU_KVCACHE_SPACE" not in vllm(DEMO, GPU, PLACE).environment


def test_a_cards_options_are_added_and_cannot_undo_ours():
    """True is a flag alone, False is no flag, anything else has a value; what the card's own fields say stays."""
    options = {"enforce-eager": True, "enable-prefix-caching": False, "dtype": "bfloat16", "allowed-media-domains": "*"}
    found = flags(vllm(card(engine=DEMO.engine.model_dump() | {"options": options}), GPU, PLACE))
    assert (found["enforce-eager"], found["dtype"]) == (TRUE, "bfloat16")
    assert found["allowed-media-domains"] == "media.invalid"
    assert "enable-prefix-caching" not in found


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("qwen2.5-vl-7b-instruct", {"min_pixels": 3136, "max_pixels": 1003520}),
        ("smolvlm2-2.2b-instruct", {"size": {"longest_edge": 1536}}),
        ("paligemma-3b-mix-448", None),
        ("llava-1.5-7b-hf", None),
        ("moondream3-preview", None),
    ],
)
def test_a_processor_is_set_as_its_formula_reckons(model: str, settings: dict[str, Any] | None):
    """Where it can be set at all; the others have one size."""
    found = flags(vllm(CATALOG.find(model), GPU, PLACE)).get("mm-processor-kwargs")
    assert (None if found is None else json.loads(found)) == settings


def test_internvl2_can_run_on_vllm_as_well():
    """With the tiles of its card."""
    internvl2 = CATALOG.find("internvl2-2b")
    found = flags(vllm(internvl2, GPU, PLACE))
    assert json.loads(found["mm-processor-kwargs"]) == {"max_dynamic_patch": 12}


def test_moondream_2_is_never_started_on_vllm():
    """vLLM would take its weights for Moondream 3's, without complaint."""
    with pytest.raises(CardError, match="its engine is transformers"):
        vllm(CATALOG.find("moondream2"), GPU, PLACE)
