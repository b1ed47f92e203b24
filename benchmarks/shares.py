"""A fixed share of a core for each engine server below this process, so that counted GPUs have a speed of their own.

Two cores for a cluster, its clients and four engines would else be one common pool: more replicas would not be faster.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from deployments.guard import descendants

SERVER = b"transformers_server.py"
SLICES = 20
SLICE_S = 0.005
RUNNING_SLICES = 6  # of 20: 30 %
LOOK_EVERY_S = 0.5


class Shares:
    """While entered, engine servers are stopped and continued in turns; at the end all go on."""

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._share)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _share(self) -> None:
        engines: list[int] = []
        looked_s, moment = 0.0, 0
        while not self._ended.is_set():
            if time.monotonic() - looked_s > LOOK_EVERY_S:
                engines, looked_s = [pid for pid in descendants(os.getpid()) if is_engine(pid)], time.monotonic()
            for pid, signum in turns(engines, moment):
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
            moment = (moment + 1) % SLICES
            time.sleep(SLICE_S)
        for pid in engines:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def turns(engines: list[int], moment: int) -> list[tuple[int, signal.Signals]]:
    """Who begins and who ends its turn at this slice; turns are spread evenly. Pure."""
    changed = []
    for nth, pid in enumerate(engines):
        since = (moment - nth * SLICES // len(engines)) % SLICES
        if since == 0:
            changed.append((pid, signal.SIGCONT))
        elif since == RUNNING_SLICES:
            changed.append((pid, signal.SIGSTOP))
    return changed


def is_engine(pid: int) -> bool:
    """The server itself, not its guard."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.endswith(SERVER) for word in words[:3])
