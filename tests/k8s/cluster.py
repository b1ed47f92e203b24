"""A rendered RayService, read for what the rules and the autoscaler ask of it."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from tests.k8s.manifests import Manifest

ENGINE = "vlmfleet.dev/engine"
GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Group:
    """The head, or a worker group."""

    name: str
    spec: Manifest
    shared_environment: dict[str, str]

    @property
    def pod(self) -> Manifest:
        return self.spec["template"]["spec"]

    @property
    def container(self) -> Manifest:
        return self.pod["containers"][0]

    @property
    def environment(self) -> dict[str, str]:
        own = {each["name"]: each.get("value", "") for each in self.container.get("env", ())}
        return (self.shared_environment if "envFrom" in self.container else {}) | own

    @property
    def ports(self) -> set[str]:
        return {port["name"] for port in self.container["ports"]}

    @property
    def requests(self) -> dict[str, str]:
        return self.container["resources"]["requests"]

    @property
    def limits(self) -> dict[str, str]:
        return self.container["resources"]["limits"]

    @property
    def labels(self) -> dict[str, str]:
        return self.spec.get("labels", {})

    @property
    def gpus_max(self) -> int:
        return int(self.limits.get(GPU, 0)) * self.spec["maxReplicas"]

    @property
    def drain_s(self) -> float:
        return float(self.environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])

    @property
    def hard_stop_s(self) -> float:
        return float(self.environment["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"])

    @property
    def grace_s(self) -> float:
        return self.pod["terminationGracePeriodSeconds"]


@dataclass(frozen=True)
class Deployment:
    """One deployment of the Serve config."""

    name: str
    application: Manifest
    spec: Manifest

    @property
    def options(self) -> Manifest:
        return self.spec["ray_actor_options"]

    @property
    def selectors(self) -> list[dict[str, str]]:
        """What it asks of a node, the preferred first."""
        fallbacks = [each["label_selector"] for each in self.options.get("fallback_strategy", ())]
        return [self.options.get("label_selector", {}), *fallbacks]


class Cluster:
    """The RayService of a render, with everything beside it."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.manifests = manifests
        (self.service,) = (each for each in manifests if each["kind"] == "RayService")
        self.spec: Manifest = self.service["spec"]
        self.ray: Manifest = self.spec["rayClusterConfig"]
        self.config: Manifest = yaml.safe_load(self.spec["serveConfigV2"])
        shared = self._shared_environment()
        self.head = Group("head", self.ray["headGroupSpec"], shared)
        self.workers = [Group(spec["groupName"], spec, shared) for spec in self.ray["workerGroupSpecs"]]
        self.groups = [self.head, *self.workers]
        self.deployments = [
            Deployment(f"{application['name']}/{spec['name']}", application, spec)
            for application in self.config["applications"]
            for spec in application["deployments"]
        ]

    def hosts(self, selector: dict[str, str]) -> list[Group]:
        """The groups whose nodes an actor with this selector can run on."""
        return [group for group in self.workers if selector.items() <= group.labels.items()]

    def _shared_environment(self) -> dict[str, Any]:
        maps = [each for each in self.manifests if re.match(r"vlmfleet-env-\w+$", each["metadata"]["name"])]
        return maps[0]["data"] if maps else {}
