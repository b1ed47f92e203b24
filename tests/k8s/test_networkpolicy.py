"""The matrix of who reaches whom, and that a policy which is taken away is missed."""

import pytest

from tests.k8s.manifests import golden
from tests.k8s.reach import Peer, Policies

# The labels that KubeRay really sets. Every Ray pod says that the operator made it.
RAY = {
    "ray.io/is-ray-node": "yes",
    "app.kubernetes.io/name": "kuberay",
    "app.kubernetes.io/created-by": "kuberay-operator",
}
WORKER = RAY | {"ray.io/node-type": "worker"}


PEERS = {
    "head": Peer("vlmfleet", RAY | {"ray.io/node-type": "head", "ray.io/group": "headgroup"}),
    "gateway": Peer("vlmfleet", WORKER | {"ray.io/group": "gateway"}),
    "engine": Peer("vlmfleet", WORKER | {"ray.io/group": "vllm-l4"}),
    "cleanup": Peer("vlmfleet", RAY | {"ray.io/node-type": "redis-cleanup"}),
    "redis": Peer("vlmfleet", {"app.kubernetes.io/name": "vlmfleet-redis"}),
    "postgres": Peer("vlmfleet", {"app.kubernetes.io/name": "vlmfleet-postgres"}),
    "prefetch": Peer("vlmfleet", {"app.kubernetes.io/name": "model-prefetch"}),
    "rogue": Peer("vlmfleet", {"app": "rogue"}),
    "other-team": Peer("team-b", RAY),
    "operator": Peer("kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"}),
    "prometheus": Peer("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "edge": Peer("gateway-system", {"app.kubernetes.io/name": "envoy"}),
    "dns": Peer("kube-system", {"k8s-app": "kube-dns"}),
    "internet": Peer(address="1.1.1.1"),
    "metadata": Peer(address="169.254.169.254"),
    "database": Peer(address="10.20.0.5"),
    "apiserver": Peer(address="10.96.0.1"),
}
# Ports that nobody declares: an engine's server, a gateway behind HAProxy, HAProxy's statistics.
ENGINE, GATEWAY, STATISTICS = 20_100, 30_000, 8404

YES = [
    # Ray among itself, on every port; the gateway speaks to the engines' servers.
    ("engine", "head", 6379), ("head", "engine", 10_005), ("gateway", "engine", ENGINE), ("engine", "gateway", GATEWAY),
    # KubeRay asks dashboard and proxies; clients come through the edge to any worker.
    ("operator", "head", 8265), ("operator", "gateway", 8000), ("edge", "gateway", 8000), ("edge", "engine", 8000),
    ("prometheus", "gateway", 8080), ("prometheus", "engine", 9101), ("prometheus", "head", 44_217),
    ("gateway", "dns", 53), ("engine", "internet", 443), ("gateway", "internet", 443), ("gateway", "internet", 80),
    ("gateway", "database", 5432), ("head", "apiserver", 443), ("head", "apiserver", 6443),
]  # fmt: skip
NO = [
    ("edge", "head", 8000), ("edge", "head", 8265), ("edge", "engine", ENGINE), ("edge", "gateway", GATEWAY),
    ("prometheus", "head", 8265), ("prometheus", "engine", ENGINE), ("prometheus", "gateway", STATISTICS),
    ("rogue", "head", 8265), ("rogue", "gateway", 8000), ("rogue", "engine", ENGINE), ("rogue", "internet", 443),
    ("rogue", "dns", 53), ("other-team", "head", 6379), ("other-team", "engine", ENGINE),
    # A gateway that is talked into fetching from inside, and an engine that has no business with the ledger.
    ("gateway", "metadata", 80), ("gateway", "apiserver", 443), ("gateway", "database", 80),
    ("engine", "database", 5432), ("engine", "metadata", 80), ("engine", "apiserver", 443), ("engine", "internet", 25),
]  # fmt: skip
REDIS_YES = [("head", "redis", 6379), ("cleanup", "redis", 6379)]
REDIS_NO = [("gateway", "redis", 6379), ("engine", "redis", 6379), ("rogue", "redis", 6379), ("redis", "internet", 443)]
POSTGRES_YES = [("gateway", "postgres", 5432)]
POSTGRES_NO = [("engine", "postgres", 5432), ("head", "postgres", 5432), ("rogue", "postgres", 5432)]
CACHE_YES = [("prefetch", "internet", 443), ("prefetch", "dns", 53)]
CACHE_NO = [("prefetch", "head", 6379), ("prefetch", "metadata", 80)]
# Fleet totals, which the gateways' own endpoint has.
METRICS_YES = [("prometheus", "gateway", 8000)]

EXPECTED = {
    "dev-cpu": (YES + POSTGRES_YES, NO + POSTGRES_NO),
    "prod": (YES + REDIS_YES + CACHE_YES + METRICS_YES, NO + REDIS_NO + CACHE_NO),
    "spot": (YES + REDIS_YES, NO + REDIS_NO),
}


def policies(overlay: str, without: str = "") -> Policies:
    found = [
        each for each in golden(overlay) if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] != without
    ]
    return Policies(found)


def wrong(overlay: str, rules: Policies) -> list[str]:
    """The cells of the matrix that are not as expected."""
    yes, no = EXPECTED[overlay]
    cells = [(cell, True) for cell in yes] + [(cell, False) for cell in no]
    return [
        f"{source} -> {target}:{port} is {'closed' if reachable else 'open'}"
        for (source, target, port), reachable in cells
        if rules.allow(PEERS[source], PEERS[target], port, "UDP" if port == 53 else "TCP") is not reachable
    ]


@pytest.mark.parametrize("overlay", EXPECTED)
def test_who_reaches_whom(overlay: str):
    """Everything that must be open, and what must not."""
    assert not wrong(overlay, policies(overlay))


@pytest.mark.parametrize(
    "name",
    [each["metadata"]["name"] for each in golden("prod") if each["kind"] == "NetworkPolicy"],
)
def test_no_policy_is_there_for_nothing(name: str):
    """Without it, some cell of the matrix is wrong."""
    assert wrong("prod", policies("prod", without=name))
