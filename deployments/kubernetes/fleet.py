"""`fleet.yaml` of an overlay: which models, on which machines, for how long. What the cards cannot know."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineImage(_Part):
    """The image that holds an engine's environment, and which version that is. Tags are the overlay's `images`."""

    image: str
    version: str


class Accelerator(_Part):
    """One accelerator of a kind: its share of a node, and how many the fleet may occupy (`accelerators_max`).

    For `kind: cpu` it is one replica's share, and `accelerators_max` the most replicas. `scratch_gib` is the node's own
    disk: Ray's logs, and the weights where there is no claim.
    """

    cpus: Positive
    memory_gib: Positive
    scratch_gib: Positive
    accelerators_max: Positive


class GatewayFleet(_Part):
    """`replicas` is fixed: whenever the set of gateways changes, HAProxy is reloaded on every node."""

    replicas: Positive
    replicas_per_node_max: Positive
    cpus: Positive = 1


class Fleet(_Part):
    """One overlay.

    `models` names cards, or is `every`: all that may be hosted and have an image and machines here, less `without`.
    `images` are by the name of an engine's environment, as in `make engine-NAME`; `accelerators` by a card's `kind`.
    `deadline_s` bounds a request, and every grace period follows from it. `files` is where uploads and batches lie: without
    it, on the one gateway's own disk. `spot` adds a group of spot nodes to each pool, which engines prefer. `cache` is the
    claim that holds weights and compiled kernels: without it, each node's own disk does. `usd_per_hour_max` is a ceiling on
    the rent of what runs, and `priorities` say which models get theirs first (1 is usual).
    """

    models: Literal["every"] | tuple[str, ...]
    without: tuple[str, ...] = ()
    licence_accepted: tuple[str, ...] = ()
    images: dict[str, EngineImage]
    accelerators: dict[str, Accelerator]
    gateway: GatewayFleet
    ledger_writers: Positive = 2
    deadline_s: Annotated[int, Field(gt=0, le=600)] = 600
    files: Annotated[str, Field(pattern="^s3://")] | None = None
    spot: bool = False
    cache: str | None = None
    usd_per_hour_max: Annotated[float, Field(gt=0)] | None = None
    priorities: dict[str, Annotated[float, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _without_some(self) -> Self:
        if self.without and self.models != "every":
            raise ValueError("`without` goes with `models: every`; take those names out of `models` instead")
        return self

    @model_validator(mode="after")
    def _files_that_all_gateways_see(self) -> Self:
        if self.gateway.replicas > 1 and self.files is None:
            raise ValueError("with several gateways, `files` names a place that all of them see: s3://bucket/prefix")
        return self

    @property
    def drain_s(self) -> int:
        """How long a replica or node that is told to go may finish what it streams: a tenth above the longest request."""
        return self.deadline_s * 11 // 10

    @property
    def grace_s(self) -> int:
        """How long Kubernetes waits for a pod: Ray's drain, and a moment to end."""
        return self.drain_s + 15
