"""What hardware is at hand, and whether a card's rent is that of it."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

from catalog.card import Accelerators

CPU_INFO = Path("/proc/cpuinfo")
QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
QUERY_S_MAX = 30.0


def gpu_name() -> str | None:
    """The first GPU's, as its driver calls it; None if there is none."""
    if shutil.which(QUERY[0]) is None:
        return None
    done = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_S_MAX, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


def cpu_name(cores: int) -> str:
    """Such as "2 cores of AMD EPYC 9R14"."""
    text = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"CPU, {cores} cores of {model[1].strip() if model else platform.machine()}"


def is_rented(accelerators: Accelerators, name: str) -> bool:
    """Whether the card's rate is for hardware of this name: A100-80 for "NVIDIA A100-SXM4-80GB". Pure."""
    words = re.split(r"[\s,-]+", name.lower())
    return accelerators.kind.lower().partition("-")[0] in words
