"""Which pods Ray's autoscaler starts, asked of Ray's own scheduler.

The groups are derived from the RayService as KubeRay's sidecar does it. These are private parts of Ray 2.60: small, and to be
looked at again at each upgrade.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import ResourceRequestByCount
from ray.core.generated.common_pb2 import LabelSelectorOperator

from tests.k8s.cluster import Cluster, Deployment

Selector = dict[str, str]


class _Silent:
    def log_cluster_scheduling_update(self, *arguments: Any, **named: Any) -> None:
        pass


@dataclass(frozen=True)
class Started:
    """Pods of each group, and how many replicas no group could ever hold."""

    pods: dict[str, int]
    infeasible: int


class Autoscaler:
    """The autoscaler of a cluster that has only its head so far."""

    def __init__(self, cluster: Cluster, without: Iterable[str] = ()) -> None:
        """`without`: groups whose machines are not to be had."""
        derived = _derive_autoscaling_config_from_ray_cr({**cluster.service, "spec": cluster.ray})
        self._pods_max = derived["max_workers"]
        self._types = {
            name: NodeTypeConfig(
                name=name,
                min_worker_nodes=kind["min_workers"],
                max_worker_nodes=0 if name in without else kind["max_workers"],
                idle_timeout_s=kind.get("idle_timeout_s"),
                priority=kind.get("priority") or 0,
                resources=kind["resources"],
                labels=kind["labels"],
            )
            for name, kind in derived["available_node_types"].items()
        }

    @property
    def minimum(self) -> dict[str, int]:
        """Pods that are there without any demand."""
        return self.start([]).pods

    def start(self, demands: list[tuple[Deployment, int]], selectors: list[Selector] | None = None) -> Started:
        """What so many replicas of each deployment start. `selectors` stand in for the deployments' own."""
        request = SchedulingRequest(
            node_type_configs=self._types,
            disable_launch_config_check=True,
            max_num_nodes=self._pods_max,
            resource_requests=[_demand(deployment, count, selectors) for deployment, count in demands],
        )
        reply = ResourceDemandScheduler(_Silent()).schedule(request)
        started = {launch.instance_type: launch.count for launch in reply.to_launch}
        return Started(started, len(reply.infeasible_resource_requests))


def _demand(deployment: Deployment, count: int, selectors: list[Selector] | None) -> ResourceRequestByCount:
    options = deployment.options
    wanted = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus", 0)}
    request = ResourceRequestUtil.make(
        {name: amount for name, amount in wanted.items() if amount},
        label_selectors=[
            [(label, LabelSelectorOperator.LABEL_OPERATOR_IN, [value]) for label, value in selector.items()]
            for selector in selectors or deployment.selectors
        ],
    )
    return ResourceRequestByCount(request=request, count=count)
