"""Processes by the words of their command lines."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deployments.guard import descendants


def below(pid: int, words: str) -> set[int]:
    """Those that descend from `pid` and have these words, guards left out."""
    lines = ((each, command_line(each)) for each in descendants(pid))
    return {each for each, line in lines if words in line and "guard.py" not in line}


def command_line(pid: int) -> str:
    """Its words with spaces between them; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


def variables(pid: int) -> dict[str, str]:
    """The environment that it was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
