"""A Ray cluster on one machine, with a raylet for each pod of rendered manifests: `python -m tests.e2e.raylets FOLDER PORT SOCKET`.

FOLDER is a rendered overlay. Takes commands from the socket at the path SOCKET, as `Raylets` has them: `("kill", "vllm-l4")`.
Ends with its first caller. Labels and GPUs are what the manifests declare; nothing else of a pod is imitated.
"""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import serve
from ray._private.node import Node
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from ray.serve._private.api import serve_start
from ray.serve.schema import ServeDeploySchema

from deployments.cluster import wait_until_running
from deployments.kubernetes.labels import POOL
from deployments.scaling.locate import GOVERNOR, NAMESPACE

BASE = Path(__file__).parents[2] / "k8s" / "base" / "rayservice.yaml"
POLL_S = 0.5
# Loopback, but not the one address that Ray replaces by the machine's own.
LOOPBACK = "127.0.0.2"
DRAIN_MS = 300_000

Placement = dict[str, list[str]]


class Raylets:
    """The cluster, and what an operator does to it or a fault."""

    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
        self._groups = {group["labels"][POOL]: group for group in groups(folder)}
        self._nodes: list[tuple[str, Node]] = []
        head = {"num_cpus": 0, "include_dashboard": False, "node_ip_address": LOOPBACK}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        for pool, group in self._groups.items():
            for _ in range(max(1, group["minReplicas"])):
                self.add(pool)
        ray.init(address=self._cluster.address, namespace="serve", _node_ip_address=LOOPBACK, log_to_driver=False)
        wanted = config(folder, port)
        self._serve = serve_start(http_options=wanted.http_options.model_dump(), proxy_location=wanted.proxy_location)

    def deploy(self, folder: str) -> Placement:
        """What `kubectl apply -k` leads to: appended groups get a pod, and Serve the config."""
        for pool, group in ((group["labels"][POOL], group) for group in groups(Path(folder))):
            if pool not in self._groups:
                self._groups[pool] = group
                self.add(pool)
        wanted = config(Path(folder), self._port)
        self._serve.deploy_apps(wanted, _blocking=False)
        wait_until_running({application.name for application in wanted.applications})
        while not self._settled():
            time.sleep(POLL_S)
        return self.placement()

    def add(self, pool: str) -> None:
        """Another pod of this group."""
        group = self._groups[pool]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = self._cluster.add_node(
            num_cpus=int(limits["cpu"]),
            num_gpus=int(limits.get("nvidia.com/gpu", 0)),
            labels=group["labels"],
            node_ip_address=LOOPBACK,
        )
        self._nodes.append((pool, node))

    def kill(self, pool: str) -> None:
        """The oldest node of this pool vanishes, with all that runs on it."""
        self._remove(self._oldest(pool), graceful=False)

    def drain(self, pool: str) -> None:
        """The oldest node of this pool is told to go, and goes when nothing runs there."""
        node = self._oldest(pool)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = time.time_ns() // 1_000_000 + DRAIN_MS
        accepted, why = GcsClient(address=self._cluster.address).drain_node(node.node_id, reason, "test", deadline_ms)
        assert accepted, why
        while any(replica["node_id"] == node.node_id for replica in self._replicas()):
            time.sleep(POLL_S)
        self._remove(node, graceful=True)

    def restart_gcs(self) -> None:
        """The control service dies and comes back with what Redis kept."""
        self._cluster.head_node.kill_gcs_server()
        self._cluster.head_node.start_gcs_server()

    def kill_governor(self) -> None:
        """The actor that decides how many replicas each model has; Ray starts another."""
        ray.kill(ray.get_actor(GOVERNOR, namespace=NAMESPACE), no_restart=False)

    def placement(self) -> Placement:
        """Deployment -> the pool of each of its replicas' nodes."""
        pools = {node["NodeID"]: node["Labels"].get(POOL, "head") for node in ray.nodes()}
        placed: Placement = {}
        for replica in self._replicas():
            if replica["node_id"] is None:
                continue  # it waits for a node
            placed.setdefault(replica["deployment"], []).append(pools[replica["node_id"]])
        return placed

    def close(self) -> None:
        serve.shutdown()
        ray.shutdown()
        self._cluster.shutdown()

    def _replicas(self) -> list[dict[str, Any]]:
        return [
            {"deployment": name, "node_id": replica.get("node_id"), "state": replica["state"]}
            for application in self._serve.get_serve_details()["applications"].values()
            for name, deployment in application["deployments"].items()
            for replica in deployment["replicas"]
        ]

    def _settled(self) -> bool:
        """Nothing starts or stops any more."""
        return all(replica["state"] == "RUNNING" for replica in self._replicas())

    def _oldest(self, pool: str) -> Node:
        return next(node for of, node in self._nodes if of == pool)

    def _remove(self, node: Node, graceful: bool) -> None:
        self._nodes = [pair for pair in self._nodes if pair[1] is not node]
        self._cluster.remove_node(node, allow_graceful=graceful)


def groups(folder: Path) -> list[dict[str, Any]]:
    """The gateways' group of the base, and those that were rendered."""
    base = yaml.safe_load(BASE.read_text())["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    return [*base, *(step["value"] for step in yaml.safe_load((folder / "worker-groups.yaml").read_text()))]


def config(folder: Path, port: int) -> ServeDeploySchema:
    """The rendered config, but for what one machine cannot have: a proxy on each of several nodes."""
    rendered = yaml.safe_load((folder / "serve-config.yaml").read_text())
    rendered["proxy_location"] = "HeadOnly"
    rendered["http_options"] |= {"host": "127.0.0.1", "port": port}
    return ServeDeploySchema.model_validate(rendered)


def answer(command: Callable[..., Placement | None], arguments: list[str]) -> Placement | Exception | None:
    try:
        return command(*arguments)
    except Exception as error:  # noqa: BLE001  # it is raised where the command came from
        return RuntimeError("".join(traceback.format_exception(error)))


def main(folder: Path, port: int, socket: str) -> None:
    raylets = Raylets(folder, port)
    try:
        with Listener(socket, "AF_UNIX") as listener, listener.accept() as owner, suppress(EOFError):
            while True:
                name, *arguments = owner.recv()
                owner.send(answer(getattr(raylets, name), arguments))
    finally:
        raylets.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
