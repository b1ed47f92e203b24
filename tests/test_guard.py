"""On real processes. What is awaited is their end, never a time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.guard import MEMORY_STATUS, guarded

GRACE_S = 5.0

# A command that leaves two daemons behind, each orphaned and in a session of its own. It works on, or it ends.
DAEMONS = """
import os, pathlib, sys, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        break
else:
    while "ends" in sys.argv:
        if len(os.listdir(sys.argv[1])) == 2:
            sys.exit(4)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(300)
"""
# An owner that holds a guard's lifeline, as a replica does.
OWNER = """
import subprocess, sys, time
guard = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
print(guard.pid, flush=True)
time.sleep(300)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_pids(folder: Path, count: int) -> list[int]:
    """The processes that have written their ids into `folder`, once there are so many."""
    for _ in range(1000):
        pids = [int(file.name) for file in folder.iterdir()]
        if len(pids) == count:
            return pids
        time.sleep(0.02)
    pytest.fail("the processes did not start")


def wait_for_end(pids: list[int]) -> None:
    for _ in range(1000):
        if not any(map(alive, pids)):
            return
        time.sleep(0.02)
    pytest.fail(f"still alive: {[pid for pid in pids if alive(pid)]}")


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Where processes write their ids; whatever a failed test leaves is ended."""
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    for pid in [int(file.name) for file in folder.iterdir()]:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def start(*command: str, grace_s: float = GRACE_S, memory_bytes_max: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        guarded([sys.executable, "-c", *command], grace_s, memory_bytes_max),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


HUNGRY = """
import os, pathlib, sys, time
if os.fork():
    time.sleep(300)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
held = b"x" * int(sys.argv[2])
time.sleep(300)
"""


def test_a_command_that_holds_too_much_memory_is_ended_and_says_so(pids: Path):
    """Whichever of its processes holds it; all of them are."""
    with start(HUNGRY, str(pids), str(300 * 2**20), memory_bytes_max=200 * 2**20) as guard:
        assert guard.stdout
        said = guard.stdout.read()
        assert guard.wait() == MEMORY_STATUS
    assert said.startswith(b"guard: ended, for its processes held ")
    wait_for_end(wait_for_pids(pids, 1))


def test_a_command_within_its_memory_goes_on(pids: Path):
    with start(DAEMONS, str(pids), "ends", memory_bytes_max=2**30) as guard:
        assert guard.wait() == 4


def test_nothing_outlives_an_owner_that_is_killed(pids: Path):
    """SIGKILL of the owner ends the guard, the command and its daemons: none can slip away."""
    command = guarded([sys.executable, "-c", DAEMONS, str(pids)], GRACE_S)
    with subprocess.Popen([sys.executable, "-c", OWNER, *command], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        guard = int(owner.stdout.readline())
        below = wait_for_pids(pids, 3)
        assert all(map(alive, [guard, *below]))
        owner.kill()
    wait_for_end([guard, *below])


def test_an_owner_that_closes_its_end_ends_everything(pids: Path):
    """The pipe is the lifeline, whoever holds it."""
    with start(DAEMONS, str(pids)) as guard:
        below = wait_for_pids(pids, 3)
        guard.communicate()
    wait_for_end(below)


def test_a_command_that_ends_leaves_no_daemons(pids: Path):
    """They go with it, although it has not waited for them."""
    with start(DAEMONS, str(pids), "ends") as guard:
        assert guard.wait() == 4
    wait_for_end(wait_for_pids(pids, 2))


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),  # 128 + SIGKILL, as shells say it
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
)
def test_the_status_is_the_commands(script: str, status: int):
    """Whoever waits for the guard learns how the command ended."""
    with start(script) as guard:
        assert guard.wait() == status


GRACEFUL = """
import pathlib, os, signal, sys, time
def end(*_):
    print("saved", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(300)
"""


def test_sigterm_lets_the_command_end_by_itself(pids: Path):
    """It gets SIGTERM too, does what it must and ends as it likes."""
    with start(GRACEFUL, str(pids)) as guard:
        wait_for_pids(pids, 1)
        guard.terminate()
        assert guard.wait() == 3
        assert guard.stdout
        assert guard.stdout.read() == b"saved\n"


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace(pids: Path):
    """With all its daemons."""
    with start("import signal; signal.signal(15, signal.SIG_IGN)\n" + DAEMONS, str(pids), grace_s=0.1) as guard:
        below = wait_for_pids(pids, 3)
        guard.terminate()
        assert guard.wait() == 137
    wait_for_end(below)


def test_ctrl_c_is_for_the_owner(pids: Path):
    """SIGINT alone ends nothing: the owner decides what its user meant."""
    with start(GRACEFUL, str(pids)) as guard:
        (command,) = wait_for_pids(pids, 1)
        guard.send_signal(signal.SIGINT)
        guard.terminate()
        assert guard.wait() == 3  # by its SIGTERM
    wait_for_end([command])
