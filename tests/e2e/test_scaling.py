"""A model that runs nowhere is started by the first request that waits for it, and given back when nobody asks."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import yaml

from deployments.guard import descendants
from tests.e2e.cluster import CHECKOUT, MODEL, Cluster, about, alive, command_line, free_port, vlmfleet, wait_until
from tests.e2e.test_operating import vlm

pytestmark = pytest.mark.engine

# A cold engine on a busy machine.
START_S = 300
# Idle for its start-up time and `late_start_s`, then the engine has to stop.
GIVEN_BACK_S = 600.0


@pytest.fixture(scope="module")
def sleeping_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`serve.yaml`, with a card that lets its model have no replica, and little patience with idle ones."""
    folder = tmp_path_factory.mktemp("config")
    card = yaml.safe_load((CHECKOUT / f"catalog/cards/{MODEL}.yaml").read_text())
    card["autoscaling"] = {"replicas_min": 0, "replicas_max": 1}
    (folder / "cards").mkdir()
    (folder / "cards" / f"{MODEL}.yaml").write_text(yaml.safe_dump(card))
    config = yaml.safe_load((CHECKOUT / "serve.yaml").read_text())
    others = [one["name"] for one in config["applications"] if one["args"].get("model", MODEL) != MODEL]
    config["applications"] = [one for one in config["applications"] if one["name"] not in others]
    for application in config["applications"]:
        application["args"]["cards"] = str(folder / "cards")
        if "models" in application["args"]:
            application["args"]["models"] = [MODEL]
        if application["name"] == "scaling":
            application["args"] |= {"late_start_s": 5, "watch_s": 5}
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="module")
def sleeping(tmp_path_factory: pytest.TempPathFactory, sleeping_config: Path) -> Iterator[Cluster]:
    """A fleet of its own, whose only model has no replica."""
    home, port = tmp_path_factory.mktemp("home"), free_port()
    up = vlmfleet("up", home, port, sleeping_config)
    output, _ = up.communicate()
    assert up.returncode == 0, output
    running = Cluster(f"http://127.0.0.1:{port}", home)
    below = list(descendants(running.launcher_pid))
    yield running
    down = vlmfleet("down", home, port, sleeping_config)
    output, _ = down.communicate()
    assert down.returncode == 0, output
    assert not [command_line(pid) for pid in below if alive(pid)]


@pytest.fixture
def patient(sleeping: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sleeping.url}/v1", api_key=sleeping.key, max_retries=0) as made:
        yield made


def rows(cluster: Cluster) -> list[dict]:
    return vlm(cluster, "scaling", "explain", MODEL, "--limit", "100")["data"]


def engines(cluster: Cluster) -> list[int]:
    return cluster.processes("vllm.entrypoints")


def test_a_model_is_started_by_who_waits_for_it_explained_and_given_back(sleeping, patient, held_out):
    assert engines(sleeping) == []
    wait_until(lambda: rows(sleeping) != [])

    with pytest.raises(openai.InternalServerError) as refusal:
        patient.chat.completions.create(**about(held_out[0]))
    assert refusal.value.code == "model_warming"
    assert 1 <= int(refusal.value.response.headers["retry-after"]) <= 120

    cold = patient.chat.completions.with_raw_response.create(
        **about(held_out[0]), extra_headers={"Prefer": f"wait={START_S}"}, timeout=2 * START_S
    )
    assert cold.headers["x-model-cold-start"] == "true"
    assert cold.parse().choices[0].message.content == held_out[0].answer
    assert len(engines(sleeping)) == 1

    warm = patient.chat.completions.with_raw_response.create(**about(held_out[1]))
    assert "x-model-cold-start" not in warm.headers

    ordered = [row for row in rows(sleeping) if row["replicas"] == 1 and row["running"] == 0]
    assert ordered
    assert all(row["words"] for row in ordered)
    (start,) = vlm(sleeping, "scaling", "explain", MODEL)["starts"]
    assert 0 < start["ready_s"] < start["total_s"]

    wait_until(lambda: engines(sleeping) == [], GIVEN_BACK_S)
    assert rows(sleeping)[0]["replicas"] == 0


def test_the_command_line_tells_it_in_words(sleeping):
    shown = subprocess.run(
        [sys.executable, "-m", "cli", "scaling", "explain", MODEL, "--url", sleeping.url, "--key", sleeping.admin_key],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "replicas" in shown.stdout
