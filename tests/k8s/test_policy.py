"""Every render keeps the rules, and a render with one thing broken does not."""

from collections.abc import Callable

import pytest
import yaml

from tests.k8s.cluster import Cluster
from tests.k8s.manifests import OVERLAYS, Manifest, golden, one
from tests.k8s.policy import faults

Break = Callable[[list[Manifest]], object]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_render_keeps_the_rules(overlay: str):
    """All of them."""
    assert not faults(Cluster(golden(overlay)))


def ray(render: list[Manifest]) -> Manifest:
    return one(render, "RayService")["spec"]["rayClusterConfig"]


def group(render: list[Manifest], name: str = "vllm-l4") -> Manifest:
    return next(each for each in ray(render)["workerGroupSpecs"] if each["groupName"] == name)


def pod(render: list[Manifest], name: str = "vllm-l4") -> Manifest:
    return group(render, name)["template"]["spec"]


def container(render: list[Manifest], name: str = "vllm-l4") -> Manifest:
    return pod(render, name)["containers"][0]


def serving(change: Callable[[Manifest], object]) -> Break:
    """A change of the Serve config."""

    def broken(render: list[Manifest]) -> None:
        spec = one(render, "RayService")["spec"]
        config = yaml.safe_load(spec["serveConfigV2"])
        change(config)
        spec["serveConfigV2"] = yaml.safe_dump(config)

    return broken


def application(config: Manifest, name: str) -> Manifest:
    return next(each for each in config["applications"] if each["name"] == name)


def options(config: Manifest, name: str = "model-qwen2-vl-2b-instruct") -> Manifest:
    return application(config, name)["deployments"][0]["ray_actor_options"]


BROKEN: dict[str, tuple[Break, str]] = {
    "a name that is too long": (lambda r: one(r, "RayService")["metadata"].update(name="v" * 48), "47 characters"),
    "a named head service": (lambda r: ray(r)["headGroupSpec"].update(headService={}), "kuberay#2433"),
    "two upgrade strategies": (lambda r: ray(r).update(upgradeStrategy={}), "refused below a RayService"),
    "proxies on the head only": (serving(lambda c: c.update(proxy_location="HeadOnly")), "never get ready"),
    "replicas beside an autoscaler": (lambda r: group(r).update(replicas=2), "undoes the autoscaler"),
    "no upper bound": (lambda r: group(r).pop("maxReplicas"), "2147483647"),
    "work on the head": (lambda r: ray(r)["headGroupSpec"]["rayStartParams"].pop("num-cpus"), "replicas run on it"),
    "labels in the wrong place": (lambda r: group(r)["rayStartParams"].update(labels="a=b"), "belong to the group"),
    "switches of one group only": (
        lambda r: container(r)["env"].append({"name": "RAY_SERVE_ENABLE_HA_PROXY", "value": "0"}),
        "HAProxy mode differs",
    ),
    "no port for the probe": (lambda r: container(r)["ports"].pop(0), "no port named serve"),
    "no port for the Service": (
        lambda r: ray(r)["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"].pop(3),
        "head: no port named serve",
    ),
    "a pod that restarts": (lambda r: pod(r).update(restartPolicy="Always"), "restartPolicy"),
    "an image without a tag": (lambda r: container(r).update(image="registry.example.com/a/vllm"), "not pinned"),
    "the latest image": (lambda r: container(r).update(image="registry.example.com/a/vllm:latest"), "not pinned"),
    "another engine's image": (
        lambda r: container(r).update(image="registry.example.com/a/lmdeploy:1"),
        "is labelled vllm",
    ),
    "root": (lambda r: pod(r)["securityContext"].pop("runAsNonRoot"), "as root"),
    "capabilities": (lambda r: container(r)["securityContext"].pop("capabilities"), "restricted"),
    "the password on a GPU": (
        lambda r: container(r)["env"].append({"name": "VLMFLEET_STORE", "value": ""}),
        "no business",
    ),
    "memory that may grow": (lambda r: container(r)["resources"]["limits"].update(memory="48Gi"), "must be the same"),
    "no toleration": (lambda r: pod(r).pop("tolerations"), "no toleration"),
    "endless shared memory": (lambda r: pod(r)["volumes"][-1]["emptyDir"].pop("sizeLimit"), "without a limit"),
    "a second route": (
        serving(lambda c: application(c, "ledger").update(route_prefix="/ledger")),
        "exactly the gateway",
    ),
    "a misspelt selector": (
        serving(lambda c: options(c).update(label_selector={"vlmfleet.dev/pool": "vllm-l5"})),
        "no worker group has the labels",
    ),
    "no selector": (serving(lambda c: options(c).pop("label_selector")), "no worker group has the labels"),
    "more GPUs than a pod has": (serving(lambda c: options(c).update(num_gpus=2)), "so many GPUs"),
    "a short grace period": (lambda r: pod(r).update(terminationGracePeriodSeconds=600), "out of order"),
    "a short grace period of gateways": (
        lambda r: pod(r, "gateway").update(terminationGracePeriodSeconds=30),
        "out of order",
    ),
    "a longer deadline": (serving(lambda c: application(c, "gateway")["args"].update(deadline_s=900)), "out of order"),
    "a shutdown longer than the drain": (
        serving(lambda c: application(c, "gateway")["deployments"][0].update(graceful_shutdown_timeout_s=800)),
        "may take 800 s",
    ),
    "an old cluster that goes too soon": (
        lambda r: one(r, "RayService")["spec"].update(rayClusterDeletionDelaySeconds=60),
        "before it has drained",
    ),
    "no claim": (
        lambda r: r.remove(one(r, "PersistentVolumeClaim", "model-cache")),
        "no PersistentVolumeClaim model-cache",
    ),
    "no cards": (lambda r: r.remove(one(r, "ConfigMap", "vlmfleet-cards")), "no ConfigMap vlmfleet-cards"),
    "a budget in per cent": (
        lambda r: one(r, "PodDisruptionBudget", "vlmfleet-gateway")["spec"].update(minAvailable="50%"),
        "kuberay#2662",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what: str):
    """One thing at a time."""
    render = golden("prod")
    breaks, says = BROKEN[what]
    breaks(render)
    found = faults(Cluster(render))
    assert any(says in fault for fault in found), found


def test_spot_pods_end_within_the_notice():
    """A machine that is taken away does not wait."""
    render = golden("spot")
    group(render, "vllm-l4-spot")["template"]["spec"]["terminationGracePeriodSeconds"] = 300
    assert "vllm-l4-spot: a spot machine is gone after 120 s" in faults(Cluster(render))


def test_an_incremental_upgrade_has_no_second_route():
    """The stable Service has no endpoints while KubeRay moves traffic (kuberay#5148)."""
    render = [*golden("spot"), one(golden("prod"), "HTTPRoute")]
    assert any("KubeRay's own route" in fault for fault in faults(Cluster(render)))
