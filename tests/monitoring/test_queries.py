"""Dashboards and rules ask only for what is exported: every metric by its name, with labels that it has."""

import json

import pytest
import yaml

from tests.monitoring.exported import series
from tests.monitoring.queries import COMPONENT, DASHBOARDS, Query, queries, recorded, selectors

# Not ours. Ray's own are looked for in a running cluster (tests/e2e/test_metrics.py), Kubernetes' cannot be.
RAY = {
    "ray_serve_autoscaling_target_replicas": {"application", "deployment"},
    "ray_serve_deployment_replica_healthy": {"application", "deployment"},
    "ray_serve_application_status": {"application"},
    "ray_serve_proxy_status": {"node_ip_address"},
    "ray_node_disk_utilization_percentage": {"ip"},
    "ray_node_mem_used": {"IsHeadNode"},
    "ray_node_mem_total": {"IsHeadNode"},
}
KUBERNETES = {
    "kube_pod_status_phase": {"namespace", "phase", "pod"},
    "kube_statefulset_status_replicas_ready": {"namespace", "statefulset"},
    "kubelet_volume_stats_available_bytes": {"namespace", "persistentvolumeclaim"},
    "kubelet_volume_stats_capacity_bytes": {"namespace", "persistentvolumeclaim"},
}
KNOWN = {name: set(labels) for name, labels in series().items()} | RAY | KUBERNETES
QUERIES = list(queries())


def faults(expression: str) -> list[str]:
    """What a query asks for that there is not."""
    found = []
    for selector in selectors(expression):
        if selector.name in recorded():
            continue
        if selector.name not in KNOWN:
            found.append(f"no series {selector.name}")
        elif missing := selector.labels - KNOWN[selector.name]:
            found.append(f"{selector.name} has no {', '.join(sorted(missing))}")
    return found


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_a_query_asks_for_what_is_exported(query: Query):
    assert faults(query.expression) == []


@pytest.mark.parametrize(
    "expression",
    [
        "sum(rate(ray_vlmfleet_request_total[5m]))",
        "sum by (key) (rate(ray_vlmfleet_requests_total[5m]))",
        'max(vlmfleet_replicas{state="ready"})',
        "histogram_quantile(0.95, sum by (le) (rate(ray_vlmfleet_ttft_seconds_count[5m])))",
    ],
)
def test_a_mistake_is_found(expression: str):
    """A name that is none, a label that is not there, the wrong part of a histogram."""
    assert faults(expression)


def test_every_metric_is_looked_at():
    """By a dashboard or a rule: else nobody would miss it."""
    asked = {selector.name for query in QUERIES for selector in selectors(query.expression)}
    parts = ("_bucket", "_sum", "_count")
    looked_at = {name.removesuffix(part) for name in asked for part in ("", *parts)}
    exported = {name for name in series() if not name.endswith(("_sum", "_count"))}
    assert {name.removesuffix("_bucket") for name in exported} - looked_at == set()


def test_every_dashboard_is_in_the_component():
    """Each has an id of its own, and no two panels have one in common."""
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    (generated,) = component["configMapGenerator"]
    assert sorted(generated["files"]) == [f"dashboards/{file.name}" for file in DASHBOARDS]
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text())
        assert dashboard["uid"] == file.stem
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
