"""The rendered manifests on one machine: a raylet for each group, real engines, a real request."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
import yaml

from catalog.catalog import CARDS
from demo.generate import HELD_OUT_SEED, examples
from deployments.guard import guarded
from deployments.kubernetes.overlay import render, write
from tests.e2e.cluster import CHECKOUT, about, free_port

pytestmark = pytest.mark.skipif(
    "VLMFLEET_LIVE" not in os.environ,
    reason="several raylets need a machine with more than two cores; set VLMFLEET_LIVE=1",
)

GRACE_S = 30.0
# Two pools of one engine: what a machine without GPUs can hold. The engine's own build is the CPU one all the same.
FLEET = """
models: every
images: {vllm: {image: registry.example.com/vllm, version: 0.32.0}}
accelerators:
  L4: {cpus: 1, memory_gib: 4, scratch_gib: 10, accelerators_max: 1}
  A100-80: {cpus: 1, memory_gib: 4, scratch_gib: 10, accelerators_max: 1}
gateway: {replicas: 1, replicas_per_node_max: 1}
ledger_writers: 1
"""


@dataclass(frozen=True)
class Rendered:
    """A running cluster, and the pools of each deployment's replicas."""

    url: str
    home: Path
    pools: dict[str, list[str]]


def demo_on(kind: str, name: str) -> str:
    """The demo's card, on a GPU that is only counted."""
    card = yaml.safe_load((CARDS / "demo-qwen2-vl.yaml").read_text())
    card |= {"id": f"tests/{name}", "served_name": name, "aliases": []}
    card["accelerators"] |= {"kind": kind, "count": 1}
    return yaml.safe_dump(card)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    overlay, cards, home = (tmp_path_factory.mktemp(name) for name in ("overlay", "cards", "home"))
    (overlay / "fleet.yaml").write_text(FLEET)
    for kind, name in (("L4", "demo-small"), ("A100-80", "demo-large")):
        (cards / f"{name}.yaml").write_text(demo_on(kind, name))
    write(overlay, render(overlay, cards))
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="vlm-", ignore_cleanup_errors=True) as ray_folder,
        subprocess.Popen(
            guarded([sys.executable, "-m", "tests.e2e.raylets", str(overlay), str(port)], GRACE_S),
            cwd=CHECKOUT,
            env=os.environ | environment(home, cards) | {"RAY_TMPDIR": ray_folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as cluster,
    ):
        assert cluster.stdout
        placed = next((line for line in cluster.stdout if line.startswith("{")), None)
        assert placed, "it did not start"
        yield Rendered(f"http://127.0.0.1:{port}/v1", home, json.loads(placed))
        cluster.terminate()


def environment(home: Path, cards: Path) -> dict[str, str]:
    """As in the pods, but for HAProxy, of which a machine has one."""
    return {
        "VLMFLEET_HOME": str(home),
        "VLMFLEET_CARDS": str(cards),
        "RAY_SERVE_ENABLE_HA_PROXY": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ADDRESS": "",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": str(CHECKOUT),
    }


@pytest.mark.engine
def test_each_engine_lands_on_its_group(rendered: Rendered):
    """By label alone: both ask for one GPU, and both nodes have one."""
    assert rendered.pools == {
        "Engine-demo-small": ["vllm-l4"],
        "Engine-demo-large": ["vllm-a100-80"],
        "Gateway": ["gateway"],
        "LedgerWriter": ["gateway"],
        "BatchWorker": ["gateway"],
    }


@pytest.mark.engine
@pytest.mark.parametrize("model", ["demo-small", "demo-large"])
def test_each_model_answers(rendered: Rendered, model: str):
    """Through the gateway's node, from the engine's."""
    key = (rendered.home / "key").read_text().strip()
    (example,) = examples(HELD_OUT_SEED, 1)
    with openai.OpenAI(base_url=rendered.url, api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(**about(example) | {"model": model})
    assert answer.usage
    assert answer.usage.completion_tokens > 0
