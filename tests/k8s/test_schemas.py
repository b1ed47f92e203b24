"""What an API server would say of every object, without one."""

from collections.abc import Callable

import kubernetes_validate
import pytest

from tests.k8s import crd
from tests.k8s.manifests import CHECKOUT, RENDERS, Manifest, golden, one

CRDS = CHECKOUT / "tests" / "k8s" / "crds.tar.xz"  # where they are from: crds.md
# Envoy Gateway's definitions are not at hand: this one object has been read by people only.
UNCHECKED = {"ClientTrafficPolicy"}
KUBERNETES = "1.33"


@pytest.fixture(scope="module")
def definitions() -> dict[crd.Kind, crd.Definition]:
    return crd.load(CRDS)


def is_builtin(manifest: Manifest) -> bool:
    group = manifest["apiVersion"].partition("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and not group.startswith("gateway."))


@pytest.mark.parametrize("name", RENDERS)
def test_kubernetes_own_kinds_are_valid(name: str):
    """Unknown fields are refused, as with `kubectl apply --validate=strict`."""
    for manifest in filter(is_builtin, golden(name)):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", RENDERS)
def test_custom_kinds_are_valid(name: str, definitions: dict[crd.Kind, crd.Definition]):
    """Structure, unknown fields, scope, and the CEL rules that can be evaluated."""
    for manifest in golden(name):
        if not is_builtin(manifest) and manifest["kind"] not in UNCHECKED:
            definition = definitions[manifest["apiVersion"], manifest["kind"]]
            assert not list(definition.faults(manifest)), manifest["metadata"]["name"]


def misspelt(render: list[Manifest]) -> Manifest:
    service = one(render, "RayService")
    service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["maxReplica"] = 3
    return service


def of_the_wrong_type(render: list[Manifest]) -> Manifest:
    service = one(render, "RayService")
    service["spec"]["rayClusterConfig"]["rayVersion"] = 2.6
    return service


def against_a_rule(render: list[Manifest]) -> Manifest:
    route = one(render, "HTTPRoute")
    route["spec"]["rules"][0]["timeouts"] = {"request": "10s", "backendRequest": "60s"}
    return route


@pytest.mark.parametrize(
    ("broken", "says"),
    [(misspelt, "maxReplica"), (of_the_wrong_type, "2.6"), (against_a_rule, "backendRequest")],
)
def test_a_fault_is_found(
    broken: Callable[[list[Manifest]], Manifest], says: str, definitions: dict[crd.Kind, crd.Definition]
):
    """The validator itself: a misspelt field, a wrong type, a CEL rule."""
    manifest = broken(golden("prod"))
    faults = list(definitions[manifest["apiVersion"], manifest["kind"]].faults(manifest))
    assert any(says in fault for fault in faults), faults


def test_a_namespace_on_what_has_none_is_found(definitions: dict[crd.Kind, crd.Definition]):
    """Kustomize stamps one on kinds that it does not know."""
    pool = one(golden("cluster"), "NodePool", "vlmfleet-l4")
    pool["metadata"]["namespace"] = "vlmfleet"
    assert list(definitions["karpenter.sh/v1", "NodePool"].faults(pool)) == [
        "metadata.namespace: this kind belongs to the whole cluster"
    ]


def test_rules_are_really_evaluated(definitions: dict[crd.Kind, crd.Definition]):
    """Where CEL fails to run, a rule counts as unknown: not all may."""
    pool = one(golden("cluster"), "NodePool", "vlmfleet-l4")
    assert definitions["karpenter.sh/v1", "NodePool"].rules_evaluated(pool) >= 10
