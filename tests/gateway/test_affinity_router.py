"""Ray's router base class without Ray: only what is ours of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from deployments.gateway.affinity_router import ranked


def replicas(*ids: str) -> list[Any]:
    return [SimpleNamespace(replica_id=SimpleNamespace(unique_id=id_)) for id_ in ids]


@pytest.mark.parametrize(
    ("wanted", "ranks"),
    [("b", [["b"], ["a", "c"]]), ("", [["a", "b", "c"]]), ("gone", [["a", "b", "c"]])],
)
def test_the_wanted_replica_is_asked_first(wanted: str, ranks: list[list[str]]):
    """Without one, or where it is gone, Serve takes the least busy of all."""
    chosen = ranked(replicas("a", "b", "c"), wanted)
    assert [[replica.replica_id.unique_id for replica in rank] for rank in chosen] == ranks


def test_an_only_replica_is_the_only_rank():
    assert len(ranked(replicas("a"), "a")) == 1
