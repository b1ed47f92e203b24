"""Rules that no schema has: KubeRay's own, and what operators of other clusters learnt. Each yields what is wrong."""

import re
from collections.abc import Iterator

from tests.k8s.cluster import ENGINE, GPU, Cluster, Deployment, Group

HEAD_PORTS = {"gcs-server", "dashboard", "client", "serve", "metrics", "haproxy-metrics", "as-metrics", "dash-metrics"}
WORKER_PORTS = {"serve", "metrics", "haproxy-metrics"}
SPOT_NOTICE_S = 120


def faults(cluster: Cluster) -> list[str]:
    """Everything that is wrong with a render."""
    return [*_service(cluster), *_groups(cluster), *_serving(cluster), *_times(cluster), *_beside(cluster)]


def _service(cluster: Cluster) -> Iterator[str]:
    name = cluster.service["metadata"]["name"]
    if len(name) > 47 or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield "a RayService's name has at most 47 characters, as DNS has them"
    if "headService" in cluster.ray["headGroupSpec"]:
        yield "headService with a name breaks upgrades (kuberay#2433)"
    if "upgradeStrategy" in cluster.ray:
        yield "rayClusterConfig.upgradeStrategy is refused below a RayService"
    upgrade = cluster.spec["upgradeStrategy"]
    if upgrade["type"] == "NewClusterWithIncrementalUpgrade":
        options = upgrade["clusterUpgradeOptions"]
        if options["stepSizePercent"] > options["maxSurgePercent"]:
            yield "stepSizePercent is above maxSurgePercent"
        if any(each["kind"] == "HTTPRoute" for each in cluster.manifests):
            yield "an incremental upgrade has KubeRay's own route, and ours would send to a Service without endpoints"
    if cluster.config["proxy_location"] != "EveryNode":
        yield "without proxy_location EveryNode workers never get ready (kuberay#4994)"


def _groups(cluster: Cluster) -> Iterator[str]:
    for group in cluster.groups:
        for fault in [*_ports(group, cluster), *_pod(group), *_resources(group)]:
            yield f"{group.name}: {fault}"
    for group in cluster.workers:
        if "replicas" in group.spec:
            yield f"{group.name}: with replicas, every apply undoes the autoscaler (kuberay#1120)"
        if not isinstance(group.spec.get("maxReplicas"), int):
            yield f"{group.name}: without maxReplicas it may rent 2147483647 nodes"
        if "labels" in group.spec["rayStartParams"]:
            yield f"{group.name}: labels belong to the group, not to rayStartParams"
    if cluster.head.spec["rayStartParams"].get("num-cpus") != "0":
        yield "head: with num-cpus above 0 replicas run on it"
    if len({group.hard_stop_s for group in cluster.groups}) > 1:
        yield "Serve's switches differ between head and workers"
    if len({group.environment.get("RAY_SERVE_ENABLE_HA_PROXY") for group in cluster.groups}) > 1:
        yield "HAProxy mode differs between head and workers"


def _ports(group: Group, cluster: Cluster) -> Iterator[str]:
    wanted = HEAD_PORTS if group is cluster.head else WORKER_PORTS
    if missing := wanted - group.ports:
        yield f"no port named {', '.join(sorted(missing))}"


def _pod(group: Group) -> Iterator[str]:
    pod, container = group.pod, group.container
    if pod.get("restartPolicy", "Never") != "Never":
        yield "autoscaler v2 wants restartPolicy Never"
    if not re.search(r":(?!latest$)[\w.-]+$|@sha256:[0-9a-f]{64}$", container["image"]):
        yield f"the image {container['image']} is not pinned"
    engine = group.labels.get(ENGINE)
    if engine and not re.search(rf"/{re.escape(engine)}(-cpu)?[:@]", container["image"]):
        yield f"is labelled {engine} and runs {container['image']}"
    own, pods = container.get("securityContext", {}), pod.get("securityContext", {})
    if not pods.get("runAsNonRoot") or own.get("allowPrivilegeEscalation") is not False:
        yield "may run as root"
    if own.get("capabilities") != {"drop": ["ALL"]} or pods.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "is not `restricted`"
    if engine and "VLMFLEET_STORE" in group.environment:
        yield "an engine has no business with the ledger's password"


def _resources(group: Group) -> Iterator[str]:
    for resource in ("memory", GPU, "ephemeral-storage"):
        if group.requests.get(resource) != group.limits.get(resource):
            yield f"{resource}: Ray sizes itself by the limit, Kubernetes by the request: they must be the same"
    if "memory" not in group.limits or "ephemeral-storage" not in group.limits:
        yield "memory or disk without a limit"
    tolerated = {toleration["key"] for toleration in group.pod.get("tolerations", ())}
    if GPU in group.limits and GPU not in tolerated:
        yield "GPU nodes keep it away: no toleration"
    for volume in group.pod["volumes"]:
        if volume["name"] == "dshm" and "sizeLimit" not in volume["emptyDir"]:
            yield "/dev/shm without a limit"


def _serving(cluster: Cluster) -> Iterator[str]:
    routed = [each["name"] for each in cluster.config["applications"] if each["route_prefix"] is not None]
    if routed != ["gateway"]:
        yield f"exactly the gateway has a route, not {routed}"
    for deployment in cluster.deployments:
        for fault in _placed(cluster, deployment):
            yield f"{deployment.name}: {fault}"


def _placed(cluster: Cluster, deployment: Deployment) -> Iterator[str]:
    for selector in deployment.selectors:
        hosts = cluster.hosts(selector) if selector else []
        if not hosts:
            yield f"no worker group has the labels {selector}"
        if deployment.options.get("num_gpus", 0) > max((int(group.limits.get(GPU, 0)) for group in hosts), default=0):
            yield "no pod there has so many GPUs"


def _times(cluster: Cluster) -> Iterator[str]:
    """Longest request <= graceful shutdown <= Ray's drain < Kubernetes' grace; HAProxy and the old cluster stay as long."""
    longest_s = next(app["args"]["deadline_s"] for app in cluster.config["applications"] if app["name"] == "gateway")
    if cluster.config["http_options"]["request_timeout_s"] < longest_s:
        yield f"Serve cuts requests before the gateway's deadline of {longest_s} s"
    for group in cluster.workers:
        if not longest_s <= group.drain_s < group.grace_s:
            yield f"{group.name}: deadline {longest_s}, drain {group.drain_s:g}, grace {group.grace_s} s are out of order"
        if group.hard_stop_s < longest_s:
            yield f"{group.name}: HAProxy is stopped before a request of {longest_s} s has ended"
        if group.labels.get("ray.io/market-type") == "spot" and group.grace_s > SPOT_NOTICE_S:
            yield f"{group.name}: a spot machine is gone after {SPOT_NOTICE_S} s"
    for deployment in cluster.deployments:
        graceful_s = deployment.spec.get("graceful_shutdown_timeout_s", longest_s)
        for group in (host for selector in deployment.selectors for host in cluster.hosts(selector)):
            if not longest_s <= graceful_s <= group.drain_s:
                yield f"{deployment.name}: may take {graceful_s} s to end, and {group.name} drains for {group.drain_s:g} s"
        if cluster.spec["rayClusterDeletionDelaySeconds"] <= graceful_s:
            yield f"{deployment.name}: the old cluster is deleted before it has drained"


def _beside(cluster: Cluster) -> Iterator[str]:
    there = {(each["kind"], each["metadata"]["name"]) for each in cluster.manifests}
    for group in cluster.groups:
        for volume in group.pod["volumes"]:
            for kind, key, name in (
                ("ConfigMap", "configMap", "name"),
                ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
            ):
                if key in volume and (kind, volume[key][name]) not in there:
                    yield f"{group.name}: the render has no {kind} {volume[key][name]}"
        for source in group.container.get("envFrom", ()):
            if ("ConfigMap", source["configMapRef"]["name"]) not in there:
                yield f"{group.name}: the render has no ConfigMap {source['configMapRef']['name']}"
    for budget in (each for each in cluster.manifests if each["kind"] == "PodDisruptionBudget"):
        of_ray = any(label.startswith("ray.io/") for label in budget["spec"]["selector"]["matchLabels"])
        if of_ray and not isinstance(budget["spec"].get("minAvailable"), int):
            yield f"{budget['metadata']['name']}: pods of Ray want an integer minAvailable (kuberay#2662)"
