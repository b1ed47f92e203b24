"""How much memory an engine may hold."""

from pathlib import Path

import pytest

from deployments.engines.memory import memory_bound, node_bytes

GIB = 2**30


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 64 * GIB), ("max", 64 * GIB), (str(8 * GIB), 8 * GIB), (str(2**63), 64 * GIB)]
)
def test_a_nodes_memory_is_its_machines_or_its_containers(tmp_path: Path, limit: str | None, expected: int):
    """Whichever is less; a limit that is none says `max`, or a number beyond all machines."""
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text(f"MemTotal:       {64 * GIB // 1024} kB\nMemFree: 1 kB\n")
    if limit is not None:
        cgroup.write_text(limit + "\n")
    assert node_bytes(meminfo, (cgroup, tmp_path / "nothing")) == expected


def test_this_machine_has_memory():
    assert node_bytes() > GIB / 2


def test_an_engine_leaves_room_for_those_beside_it():
    """Ray kills what it finds at 95% of the machine."""
    assert 0.5 * GIB < memory_bound(GIB) < 0.8 * GIB
