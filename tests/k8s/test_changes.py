"""What applying a render does, told from KubeRay's own hash rules."""

from collections.abc import Callable

import pytest

from deployments.kubernetes.changes import Change, Effect, changes_of
from tests.k8s.manifests import Manifest, golden, one

IN_PLACE, APPENDED, NEW_CLUSTER = Effect.IN_PLACE, Effect.APPEND_GROUP, Effect.NEW_CLUSTER


def groups(render: list[Manifest]) -> list[Manifest]:
    return one(render, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]


def container(render: list[Manifest]) -> Manifest:
    return groups(render)[0]["template"]["spec"]["containers"][0]


CHANGES: dict[str, tuple[Callable[[list[Manifest]], object], list[Effect]]] = {
    "nothing": (lambda r: None, []),
    "a model": (lambda r: one(r, "RayService")["spec"].update(serveConfigV2="applications: []"), [IN_PLACE]),
    "a card": (lambda r: one(r, "ConfigMap", "vlmfleet-cards")["data"].update(new="card"), [IN_PLACE]),
    "more machines": (lambda r: groups(r)[1].update(maxReplicas=99), [IN_PLACE]),
    "a toleration": (lambda r: groups(r)[1]["template"]["spec"].update(tolerations=[]), [IN_PLACE]),
    "a group at the end": (lambda r: groups(r).append(groups(r)[1] | {"groupName": "new"}), [APPENDED]),
    "a group at the front": (
        lambda r: groups(r).insert(0, groups(r)[1] | {"groupName": "new"}),
        [APPENDED, *[NEW_CLUSTER] * len(groups(golden("prod")))],
    ),
    "a group less": (lambda r: groups(r).pop(), [NEW_CLUSTER]),
    "two groups in another order": (lambda r: groups(r).append(groups(r).pop(-2)), [NEW_CLUSTER, NEW_CLUSTER]),
    "an image": (lambda r: container(r).update(image="registry.example.com/vlmfleet/gateway:0.2.0"), [NEW_CLUSTER]),
    "an environment": (lambda r: container(r)["envFrom"].clear(), [NEW_CLUSTER]),
    "a label of a group": (lambda r: groups(r)[1]["labels"].update(new="label"), [NEW_CLUSTER]),
    "Ray": (lambda r: one(r, "RayService")["spec"]["rayClusterConfig"].update(rayVersion="2.61.0"), [NEW_CLUSTER]),
    "an object less": (lambda r: r.remove(one(r, "PodDisruptionBudget", "vlmfleet-head")), [IN_PLACE]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_effect_of_a_change(what: str):
    """Two clusters at once need twice the GPUs, so nobody should be surprised by one."""
    change, effects = CHANGES[what]
    render = golden("prod")
    change(render)
    assert [found.effect for found in changes_of(golden("prod"), render)] == effects


def test_a_change_says_where():
    """Effect first, so that a list of them can be scanned."""
    assert str(Change(NEW_CLUSTER, "RayService/vlmfleet gateway")) == "NEW CLUSTER   RayService/vlmfleet gateway"
