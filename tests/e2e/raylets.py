"""A Ray cluster on one machine, with a raylet for each group of rendered manifests: `python -m tests.e2e.raylets FOLDER PORT`.

FOLDER is a rendered overlay. Prints, as JSON, on which pool each replica runs, and serves until SIGTERM. Labels and
GPUs are what the manifests declare; nothing else of a pod is imitated.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

from deployments.cluster import wait_until_running
from deployments.kubernetes.labels import GATEWAY_POOL, POOL

BASE = Path(__file__).parents[2] / "k8s" / "base" / "rayservice.yaml"


def groups(folder: Path) -> list[dict[str, Any]]:
    """The gateways' group of the base, and those that were rendered."""
    base = yaml.safe_load(BASE.read_text())["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return [*base, *(step["value"] for step in yaml.safe_load((folder / "worker-groups.yaml").read_text()))]


def add_pod(cluster: Cluster, group: dict[str, Any]) -> None:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    gpus = int(limits.get("nvidia.com/gpu", 0))
    cluster.add_node(num_cpus=int(limits["cpu"]), num_gpus=gpus, labels=group["labels"])


def config(folder: Path, port: int) -> ServeDeploySchema:
    """The rendered config, but for what one machine cannot have: a proxy on each of several nodes."""
    rendered = yaml.safe_load((folder / "serve-config.yaml").read_text())
    rendered["proxy_location"] = "HeadOnly"
    rendered["http_options"] |= {"host": "127.0.0.1", "port": port}
    return ServeDeploySchema.model_validate(rendered)


def placement(details: dict[str, Any]) -> dict[str, list[str]]:
    """Deployment -> the pool of each of its replicas' nodes."""
    pools = {node["NodeID"]: node["Labels"].get(POOL, "head") for node in ray.nodes()}
    return {
        name: [pools[replica["node_id"]] for replica in deployment["replicas"]]
        for application in details["applications"].values()
        for name, deployment in application["deployments"].items()
    }


def main(folder: Path, port: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for group in groups(folder):
        add_pod(cluster, group)
    ray.init(address=cluster.address, namespace="serve")
    try:
        wanted = config(folder, port)
        client = serve_start(http_options=wanted.http_options.model_dump(), proxy_location=wanted.proxy_location)
        client.deploy_apps(wanted, _blocking=False)
        wait_until_running({application.name for application in wanted.applications})
        print(json.dumps(placement(client.get_serve_details())), flush=True)
        while True:
            time.sleep(3600)
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    assert GATEWAY_POOL in {group["labels"][POOL] for group in groups(Path(sys.argv[1]))}
    main(Path(sys.argv[1]), int(sys.argv[2]))
