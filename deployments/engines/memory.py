"""How much memory an engine may hold, so that one that grows without end is ended before its machine is."""

from pathlib import Path

# On a GPU an engine holds a few GiB of the host's, on a CPU its weights too. What is left is for those beside it: Ray, which
# begins to kill at 95%, the ledger, another engine.
SHARE = 0.6

MEMINFO = Path("/proc/meminfo")
# Of the container, if it has a limit (cgroup 2, then 1).
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_bound(node: int) -> int:
    """In bytes, of a node with so many. Pure."""
    return int(SHARE * node)


def node_bytes(meminfo: Path = MEMINFO, limits: tuple[Path, ...] = LIMITS) -> int:
    """All memory that there is for this container or machine."""
    total = next(int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemTotal:"))
    return min([1024 * total, *(int(text) for limit in limits if (text := _said(limit)).isdigit())])


def _said(file: Path) -> str:
    return file.read_text().strip() if file.is_file() else ""
