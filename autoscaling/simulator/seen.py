"""What policies see of the simulated model: production's observation, and what the standard ones go by."""

from dataclasses import dataclass

from autoscaling.observation import Observation


@dataclass(frozen=True, slots=True)
class Seen(Observation):
    """`ongoing` is queued and running requests. `utilisation` is work done by running replicas, of what they could do."""

    ongoing: int = 0
    queued: int = 0
    utilisation: float = 0.0
