"""The Job that fetches a fleet's weights into the claim before any replica wants them."""

import hashlib
import shlex
from typing import Any

from catalog import Catalog
from deployments.kubernetes.fleet import Fleet
from deployments.kubernetes.pools import engine_of
from deployments.kubernetes.worker_groups import STATE, USER

Spec = dict[str, Any]


def prefetch_job(fleet: Fleet, models: Catalog) -> Spec | None:
    """None without a claim, and where no model comes from a hub. A Job never changes, so its name says what it fetches."""
    sources = [card.source for card in models if card.source.hub]
    if not fleet.cache or not sources:
        return None
    engine = min(engine_of(card) for card in models if card.source.hub)  # each of them has the hub's command
    fetch = f"/opt/engines/{engine}/bin/hf download"
    script = "\n".join(
        ["set -e", *(f"{fetch} {shlex.join([str(s.hub), '--revision', str(s.revision)])}" for s in sources)]
    )
    labels = {"app.kubernetes.io/name": "model-prefetch"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"model-prefetch-{hashlib.sha256(script.encode()).hexdigest()[:8]}", "labels": labels},
        "spec": {
            "backoffLimit": 6,
            "ttlSecondsAfterFinished": 86400,
            "template": {"metadata": {"labels": labels}, "spec": _pod(fleet, engine, script)},
        },
    }


def _pod(fleet: Fleet, engine: str, script: str) -> Spec:
    return {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "serviceAccountName": "vlmfleet-worker",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "prefetch",
                "image": fleet.images[engine].image,
                "command": ["bash", "-c", script],
                "env": [
                    {"name": "HF_HOME", "value": f"{STATE}/hub"},
                    {
                        "name": "HF_TOKEN",
                        "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "token", "optional": True}},
                    },
                ],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "resources": {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
                "volumeMounts": [{"name": "state", "mountPath": STATE}],
            }
        ],
        "volumes": [{"name": "state", "persistentVolumeClaim": {"claimName": fleet.cache}}],
    }
