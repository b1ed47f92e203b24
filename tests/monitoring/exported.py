"""Every metric that vlmfleet exports, as Prometheus knows it: the name of each series, and its own labels."""

from deployments.engines import metrics as engine
from deployments.gateway import metrics, metrics_fleet, metrics_levels
from deployments.metric import Metric
from deployments.scaling import metrics as scaling

# What Ray's exporter and the scrape itself put on every series.
RAY_LABELS = frozenset(
    {"application", "deployment", "replica", "NodeAddress", "SessionName", "Version", "WorkerId", "Component"}
)
SCRAPE_LABELS = frozenset({"job", "instance", "namespace", "pod", "container", "ray_io_cluster", "ray_io_group"})


def exported() -> dict[str, Metric]:
    """By exported name."""
    by_ray = {
        each.exported_name: each for each in (*metrics.TABLE, *metrics_levels.TABLE, *engine.TABLE, *scaling.TABLE)
    }
    return by_ray | {each.name: each for each in metrics_fleet.TABLE}


def series() -> dict[str, frozenset[str]]:
    """The labels of every series; a histogram is three."""
    found: dict[str, frozenset[str]] = {}
    for name, metric in exported().items():
        labels = frozenset(metric.labels) | SCRAPE_LABELS
        if name.startswith("ray_"):
            labels |= RAY_LABELS
        if metric.kind == "histogram":
            found |= {f"{name}_sum": labels, f"{name}_count": labels, f"{name}_bucket": labels | {"le"}}
        else:
            found[name] = labels
    return found
