"""The groups of each overlay against the machines of `k8s/cluster`."""

import pytest

from tests.k8s.cluster import GPU, Cluster, Group
from tests.k8s.manifests import Manifest, golden, manifests

CAPACITY = "karpenter.sh/capacity-type"
POOLS = [each for each in golden("cluster") if each["kind"] == "NodePool"]
GROUPS = [
    pytest.param(group, id=f"{overlay}-{group.name}")
    for overlay in ("prod", "spot")
    for group in Cluster(golden(overlay)).workers
    if GPU in group.limits
]


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def has(pool: Manifest, label: str, value: str) -> bool:
    """Whether all nodes of the pool carry it."""
    template = pool["spec"]["template"]
    required = {each["key"]: each["values"] for each in template["spec"]["requirements"]}
    return template["metadata"]["labels"].get(label) == value or required.get(label) == [value]


def pools(group: Group) -> list[Manifest]:
    wanted = group.pod["nodeSelector"].items()
    return [pool for pool in POOLS if all(has(pool, label, value) for label, value in wanted)]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_machines(group: Group):
    """By kind of accelerator and market, and past their taints."""
    tolerated = {each["key"] for each in group.pod["tolerations"]}
    assert pools(group)
    for pool in pools(group):
        assert {taint["key"] for taint in pool["spec"]["template"]["spec"]["taints"]} <= tolerated


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_may_have_all_the_machines_that_it_may_ask_for(group: Group):
    """Else Ray waits for pods that never come."""
    assert all(int(pool["spec"]["limits"][GPU]) >= group.gpus_max for pool in pools(group))


@pytest.mark.parametrize("group", GROUPS)
def test_a_machine_waits_for_its_pods(group: Group):
    """A node that goes gives them their grace, and goes later than Ray gives it up."""
    for pool in pools(group):
        assert seconds(pool["spec"]["template"]["spec"]["terminationGracePeriod"]) > group.grace_s
        assert pool["spec"]["disruption"]["consolidationPolicy"] == "WhenEmpty"
        assert seconds(pool["spec"]["disruption"]["consolidateAfter"]) > group.spec["idleTimeoutSeconds"]


def test_a_kind_without_machines_is_noticed():
    """The check itself."""
    text = "nodeSelector: {vlmfleet.dev/accelerator: H100}"
    (pod,) = manifests(text)
    assert not pools(Group("new", {"template": {"spec": pod}}, {}))
