"""What applying a new render does to a running fleet. Pure.

KubeRay 1.7 starts a new cluster beside the old one when the hash of `rayClusterConfig` changes. Left out of that hash are
what the autoscaler and people change while it runs, and groups that are added at the end.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Manifest = dict[str, Any]

# Fields of a group that KubeRay leaves out of its hash, and of its pods.
MUTED = ("replicas", "minReplicas", "maxReplicas", "scaleStrategy", "suspend")
MUTED_OF_PODS = ("tolerations", "schedulingGates")


class Effect(StrEnum):
    IN_PLACE = "in place"
    APPEND_GROUP = "append group"
    NEW_CLUSTER = "NEW CLUSTER"


@dataclass(frozen=True, slots=True)
class Change:
    """`where` is an object, or a path in the RayService."""

    effect: Effect
    where: str

    def __str__(self) -> str:
        return f"{self.effect:12}  {self.where}"


def changes_of(before: list[Manifest], after: list[Manifest]) -> list[Change]:
    """Everything that differs, objects first; nothing for equal renders."""
    old, new = _by_name(before), _by_name(after)
    return [
        change for name in sorted(old.keys() | new.keys()) for change in _object(name, old.get(name), new.get(name))
    ]


def is_manifest(document: object) -> bool:
    """Whether this is an object of Kubernetes, as far as `changes_of` needs it: a kind and a name."""
    match document:
        case {"kind": str(), "metadata": {"name": str()}}:
            return True
    return False


def _by_name(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}


def _object(name: str, old: Manifest | None, new: Manifest | None) -> Iterator[Change]:
    if old == new:
        return
    if old is None or new is None:
        yield Change(Effect.IN_PLACE, f"{name} {'added' if old is None else 'removed'}")
    elif new["kind"] == "RayService":
        yield from _ray_service(name, old, new)
    else:
        yield Change(Effect.IN_PLACE, name)


def _ray_service(name: str, old: Manifest, new: Manifest) -> Iterator[Change]:
    before, after = copy.deepcopy(old["spec"]), copy.deepcopy(new["spec"])
    old_cluster, new_cluster = before.pop("rayClusterConfig"), after.pop("rayClusterConfig")
    for field in sorted(before.keys() | after.keys()):
        if before.get(field) != after.get(field):
            yield Change(Effect.IN_PLACE, f"{name} spec.{field}")
    if old["metadata"] != new["metadata"]:
        yield Change(Effect.IN_PLACE, f"{name} metadata")
    yield from _cluster(name, old_cluster, new_cluster)


def _cluster(name: str, old: Manifest, new: Manifest) -> Iterator[Change]:
    old_groups, new_groups = old.pop("workerGroupSpecs", []), new.pop("workerGroupSpecs", [])
    for field in sorted(old.keys() | new.keys()):
        if _hashed_pods(old.get(field)) != _hashed_pods(new.get(field)):
            yield Change(Effect.NEW_CLUSTER, f"{name} rayClusterConfig.{field}")
        elif old.get(field) != new.get(field):
            yield Change(Effect.IN_PLACE, f"{name} rayClusterConfig.{field}")
    for group in new_groups[len(old_groups) :]:
        yield Change(Effect.APPEND_GROUP, f"{name} {group['groupName']}")
    for group in old_groups[len(new_groups) :]:
        yield Change(Effect.NEW_CLUSTER, f"{name} {group['groupName']} removed")
    for was, will_be in zip(old_groups, new_groups, strict=False):
        if _hashed_group(was) != _hashed_group(will_be):
            yield Change(Effect.NEW_CLUSTER, f"{name} {will_be['groupName']}")
        elif was != will_be:
            yield Change(Effect.IN_PLACE, f"{name} {will_be['groupName']}")


def _hashed_group(group: Manifest) -> Manifest:
    hashed: Manifest = _hashed_pods({field: value for field, value in group.items() if field not in MUTED})
    return hashed


def _hashed_pods(group: Any) -> Any:
    """A head or worker group without what KubeRay mutes in its pods; anything else as it is."""
    if not isinstance(group, dict) or "template" not in group:
        return group
    hashed = copy.deepcopy(group)
    for field in MUTED_OF_PODS:
        hashed["template"].get("spec", {}).pop(field, None)
    return hashed
