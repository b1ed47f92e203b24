"""Groups keep their places: a list in another order would be a new cluster."""

from deployments.kubernetes.pools import Pool
from deployments.kubernetes.worker_groups import worker_groups
from tests.k8s.fleets import fleet

SMALL = Pool("vllm", "L4", 1, 4)
LARGE = Pool("vllm", "A100-80", 1, 2)
OTHER = Pool("lmdeploy", "L4", 1, 3)


def named(groups: list[dict]) -> list[tuple[str, int]]:
    return [(group["groupName"], group["maxReplicas"]) for group in groups]


def test_a_new_group_comes_last():
    """Wherever its name would stand."""
    standing = worker_groups(fleet(), [SMALL], [])
    assert named(worker_groups(fleet(), [OTHER, SMALL], standing)) == [("vllm-l4", 4), ("lmdeploy-l4", 3)]


def test_a_group_that_no_model_needs_stays_empty():
    """Its pods end in place, and it is there when a model needs it again."""
    standing = worker_groups(fleet(), [SMALL, LARGE], [])
    without = worker_groups(fleet(), [LARGE], standing)
    assert named(without) == [("vllm-l4", 0), ("vllm-a100-80", 2)]
    assert worker_groups(fleet(), [SMALL, LARGE], without) == standing


def test_rendering_twice_changes_nothing():
    """Else every render would be a new cluster."""
    once = worker_groups(fleet(), [SMALL, LARGE, OTHER], [])
    assert worker_groups(fleet(), [OTHER, LARGE, SMALL], once) == once


def test_a_pod_holds_one_replica():
    """Two accelerators, and their two shares of the machine."""
    (group,) = worker_groups(fleet(), [Pool("vllm", "L4", 2, 4)], [])
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "12", "memory": "48Gi", "ephemeral-storage": "160Gi", "nvidia.com/gpu": "2"}


def test_spot_is_a_second_group_of_the_same_pool():
    """What an engine asks for is the pool; the market is its preference."""
    on_demand, spot = worker_groups(fleet(spot=True, deadline_s=90), [SMALL], [])
    assert on_demand["labels"] | {"ray.io/market-type": "spot"} == spot["labels"]
    assert spot["template"]["spec"]["nodeSelector"]["karpenter.sh/capacity-type"] == "spot"
