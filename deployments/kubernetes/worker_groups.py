"""The worker groups of a fleet's pools, as KubeRay's `workerGroupSpecs`."""

from typing import Any

from deployments.kubernetes.fleet import Accelerator, Fleet
from deployments.kubernetes.labels import ACCELERATOR, ENGINE, MARKET, ON_DEMAND, POOL, SPOT
from deployments.kubernetes.pools import CPU, Pool

IDLE_S = 900
STATE = "/var/lib/vlmfleet"
USER = 1000

Spec = dict[str, Any]


def worker_groups(fleet: Fleet, pools: list[Pool], standing: list[Spec]) -> list[Spec]:
    """A group for each pool, two where there is spot. Pure.

    `standing` are the groups as they were rendered last: each keeps its place, and new ones come at the end, because
    KubeRay takes a reordered or shortened list for a new cluster. One that no model needs any more stays, empty.
    """
    wanted = {group["groupName"]: group for pool in pools for group in _groups(fleet, pool)}
    kept = [wanted.pop(group["groupName"], group | {"maxReplicas": 0}) for group in standing]
    return [*kept, *wanted.values()]


def _groups(fleet: Fleet, pool: Pool) -> list[Spec]:
    if not (fleet.spot and pool.accelerators):
        return [_group(fleet, pool, pool.name, {})]
    return [
        _group(fleet, pool, pool.name, {MARKET: ON_DEMAND}),
        _group(fleet, pool, f"{pool.name}-{SPOT}", {MARKET: SPOT}),
    ]


def _group(fleet: Fleet, pool: Pool, name: str, market: dict[str, str]) -> Spec:
    return {
        "groupName": name,
        "minReplicas": 0,
        "maxReplicas": pool.replicas_max,
        "idleTimeoutSeconds": IDLE_S,
        "labels": {POOL: pool.name, ENGINE: pool.engine, **market},
        "rayStartParams": {},
        "template": {
            "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "true"}},
            "spec": _pod(fleet, pool, market),
        },
    }


def _pod(fleet: Fleet, pool: Pool, market: dict[str, str]) -> Spec:
    machine = fleet.accelerators[pool.kind]
    return {
        "serviceAccountName": "vlmfleet-worker",
        "terminationGracePeriodSeconds": fleet.grace_s,
        **_node(pool, market),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(fleet, pool, machine)],
        "volumes": [
            {"name": "cards", "configMap": {"name": "vlmfleet-cards"}},
            {"name": "state", **_state(fleet, machine)},
            {
                "name": "dshm",
                "emptyDir": {"medium": "Memory", "sizeLimit": f"{_times(pool, machine.memory_gib) // 4}Gi"},
            },
        ],
    }


def _node(pool: Pool, market: dict[str, str]) -> Spec:
    """Which machines take the pod. Those with GPUs keep everything else away by a taint."""
    if pool.kind == CPU:
        return {}
    capacity = {"karpenter.sh/capacity-type": market[MARKET]} if market else {}
    return {
        "nodeSelector": {ACCELERATOR: pool.kind, **capacity},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }


def _container(fleet: Fleet, pool: Pool, machine: Accelerator) -> Spec:
    resources: dict[str, str] = {
        "cpu": str(_times(pool, machine.cpus)),
        "memory": f"{_times(pool, machine.memory_gib)}Gi",
        "ephemeral-storage": f"{_times(pool, machine.scratch_gib)}Gi",
    }
    if pool.accelerators:
        resources["nvidia.com/gpu"] = str(pool.accelerators)
    return {
        "name": "ray-worker",
        "image": fleet.images[pool.engine].image,
        "envFrom": [{"configMapRef": {"name": "vlmfleet-env"}}],
        "env": [
            {
                "name": "HF_TOKEN",
                "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "token", "optional": True}},
            }
        ],
        "ports": [
            {"containerPort": 8000, "name": "serve"},
            {"containerPort": 8080, "name": "metrics"},
            {"containerPort": 9101, "name": "haproxy-metrics"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "volumeMounts": [
            {"name": "cards", "mountPath": "/etc/vlmfleet/cards", "readOnly": True},
            {"name": "state", "mountPath": STATE},
            {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108  # where it has to be
        ],
    }


def _state(fleet: Fleet, machine: Accelerator) -> Spec:
    """Where weights and compiled kernels lie: a claim that all nodes share, or the node's own disk."""
    if fleet.cache:
        return {"persistentVolumeClaim": {"claimName": fleet.cache}}
    return {"emptyDir": {"sizeLimit": f"{machine.scratch_gib * 3 // 4}Gi"}}


def _times(pool: Pool, share: int) -> int:
    """A pod's part of its machine: the share of each of its accelerators."""
    return share * max(1, pool.accelerators)
