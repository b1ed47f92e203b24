"""Resolve what GPU builds consist of into `NAME-gpu.txt`: `python -m environments.locks`. Needs an index, no GPU.

A version stays as it is, or becomes that of the CPU environment, which tests run in, wherever the engine's metadata
allows it. Nothing else becomes newer by itself; to take newer versions, delete the file first.
"""

import tempfile
from pathlib import Path

from environments.engine import RECIPES, Recipe
from environments.installer import uv

# Of the images: docker/Dockerfile.
PYTHON = "3.11"
PLATFORM = "x86_64-manylinux_2_36"
# A lock is of what an index has, whatever lies on the machine that resolves it.
LOCAL = ("find-links", "constraint")


def pins(file: Path) -> dict[str, str]:
    """Package -> version."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def resolved(recipe: Recipe) -> str:
    """The text of a recipe's lock, resolved anew. Raises CalledProcessError."""
    preferred = pins(recipe.pins("gpu")) | pins(recipe.pins("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        asked, lock = Path(folder, "asked.txt"), Path(folder, "lock.txt")
        asked.write_text("\n".join(recipe.gpu), encoding="utf-8")
        # uv prefers the versions that the file has which it is to write.
        lock.write_text("\n".join(f"{name}=={version}" for name, version in preferred.items()), encoding="utf-8")
        where = ("--python-version", PYTHON, "--python-platform", PLATFORM)
        how = ("--quiet", "--no-header", "--no-annotate", "--output-file", str(lock))
        uv("pip", "compile", *how, *where, str(asked), without=LOCAL)
        packages = lock.read_text(encoding="utf-8")
    title = f"# Everything in the GPU environment of {recipe.name}, on Linux, x86_64 and Python {PYTHON}. Made by: make locks\n"
    return title + packages


if __name__ == "__main__":
    for each in RECIPES.values():
        each.pins("gpu").write_text(resolved(each), encoding="utf-8")
