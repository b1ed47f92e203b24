"""Run a command so that nothing of it outlives its owner: `python guard.py GRACE_S MEMORY_BYTES_MAX COMMAND...`

The owner holds the other end of this process's standard input. However the owner dies, SIGKILL included, that end
closes, and every descendant of the command is killed at once. SIGTERM asks for a graceful end: the command gets
SIGTERM and `GRACE_S` seconds before everything is killed. The exit status is the command's.

Where `MEMORY_BYTES_MAX` is not 0, a command whose processes come to hold more memory of their own than that is killed with
all of them, before the machine runs out of it; the exit status is `MEMORY_STATUS` then, and the last line says so. A limit
of the kernel's would do the same only where we may make cgroups; `RLIMIT_AS` counts what CUDA reserves and never uses.

Standard library only, and Linux only: it becomes the *subreaper* of everything below it, so that daemons and orphaned
grandchildren (vLLM's engine core, Ray's own processes) cannot slip away. It runs in a session of its own, because Ray
kills the process group of a dead worker, and the guard must survive that to do its work.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.5
MEMORY_STATUS = 89

GUARD = Path(__file__)


def guarded(command: list[str], grace_s: float, memory_bytes_max: int = 0) -> list[str]:
    """The command line that runs `command` under a guard. Start it with `start_new_session` and a pipe as stdin."""
    return [sys.executable, "-I", "-S", str(GUARD), str(grace_s), str(memory_bytes_max), *command]


class Guard:
    """One command and everything that descends from it."""

    def __init__(self, command: list[str], grace_s: float, memory_bytes_max: int) -> None:
        self._grace_s = grace_s
        self._memory_bytes_max = memory_bytes_max
        self._deadline_s: float | None = None
        self._child_ended = False
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGTERM, self._end_gracefully)
        signal.signal(signal.SIGCHLD, self._notice_child)
        # A terminal's Ctrl-C is for the owner, who decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            # Should the guard itself be killed, the command at least dies with it.
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509  # one thread here
        )

    def run(self) -> int:
        """Wait for the command, the owner, the deadline or the memory, whichever ends first; then leave nothing behind."""
        owner = select.poll()
        owner.register(sys.stdin.fileno(), select.POLLHUP | select.POLLIN)
        while self._child.poll() is None and not self._overdue():
            if owner.poll(1000 * POLL_S) and not os.read(sys.stdin.fileno(), 1):
                break  # the owner is gone
            if self._child_ended:
                self._child_ended = False
                self._reap_orphans()
            if self._memory_bytes_max and (held := memory_bytes(descendants(os.getpid()))) > self._memory_bytes_max:
                self._kill_all()
                print(f"guard: ended, for its processes held {held} bytes of {self._memory_bytes_max}", flush=True)
                return MEMORY_STATUS
        self._kill_all()
        return self._child.returncode if self._child.returncode >= 0 else 128 - self._child.returncode

    def _notice_child(self, *_: object) -> None:
        self._child_ended = True

    def _end_gracefully(self, *_: object) -> None:
        if self._deadline_s is None:
            self._deadline_s = time.monotonic() + self._grace_s
            self._child.terminate()

    def _overdue(self) -> bool:
        return self._deadline_s is not None and time.monotonic() > self._deadline_s

    def _kill_all(self) -> None:
        """Kill every descendant, again and again until none is left: a killed parent hands its children to us."""
        while pids := list(descendants(os.getpid())):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._child.poll()
            self._reap_orphans()
            time.sleep(0.01)
        self._child.wait()

    def _reap_orphans(self) -> None:
        """Collect ended grandchildren that became ours. The command itself is collected by `Popen`."""
        for pid in children(os.getpid()):
            if pid != self._child.pid:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def children(parent: int) -> list[int]:
    """Process ids of the direct children."""
    return [pid for pid, ppid in _parents() if ppid == parent]


def descendants(ancestor: int) -> Iterator[int]:
    """Process ids of everything below `ancestor`, zombies that wait for their parent excluded."""
    below: dict[int, list[int]] = {}
    for pid, ppid in _parents():
        below.setdefault(ppid, []).append(pid)
    todo = below.get(ancestor, [])
    while todo:
        pid = todo.pop()
        todo += below.get(pid, [])
        if _state(pid) not in ("Z", ""):
            yield pid


def memory_bytes(pids: Iterable[int]) -> int:
    """What these processes hold of memory of their own: neither files nor what they share."""
    return sum(_anonymous_bytes(pid) for pid in pids)


def _anonymous_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1])


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    """State, parent and the rest of /proc/PID/stat, or nothing for a process that has just ended."""
    try:
        # The name before them is in parentheses, and may hold anything, parentheses too.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(Guard(sys.argv[3:], float(sys.argv[1]), int(sys.argv[2])).run())
