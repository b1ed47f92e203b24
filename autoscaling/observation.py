"""What an autoscaling policy knows at one moment, and what it answers. The same in production and in the simulator.

Work is measured in replica-seconds: a full replica of the model does one a second. `docs/autoscaling.md` has the formula.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Observation:
    """One model at one moment; flows are since the observation before, levels are now.

    Every signal may be missing: a flow that nobody reported is None, which is not zero.
    """

    now_s: float
    # Flows. Work as it was estimated at admission; batch-class work is apart, and never in `arrived_work_s`.
    arrived_work_s: float | None
    arrived_requests: int | None
    finished_expected_s: float | None  # estimated work of what finished
    finished_observed_s: float | None  # replica-seconds that this work took
    met: int | None  # requests that met the SLO, and those that missed it: late, failed or refused
    missed: int | None
    # Levels.
    backlog_work_s: float | None  # queued, interactive
    oldest_wait_s: float | None
    in_flight_work_s: float | None
    batch_backlog_work_s: float | None
    running: int
    pending_ages_s: tuple[float, ...] = ()  # how long each ordered replica has been starting
    draining: int = 0
    # Starts of this model on this GPU type: p90 and p99 of the recent ones, the card's value before the first.
    start_s: float = 120.0
    start_p99_s: float = 300.0
    granted: int | None = None  # replicas that the GPU pool allows; None: no pool has answered
    replicas_min: int = 0
    replicas_max: int = 1_000_000
    signal_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why: every term that made the number, and one sentence that a person reads."""

    terms: dict[str, float] = field(default_factory=dict)
    words: str = ""


State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Decision(Generic[State]):
    """`want` is what the model asks of the pool, `replicas` what it gets now: running and starting together.

    `benefits[k]` is how many SLO violations an hour replica k+1 is expected to avoid: what the pool's grants go by.
    """

    want: int
    replicas: int
    state: State
    reasons: Reasons
    benefits: tuple[float, ...] = ()


class Policy(Protocol):
    """`decide` is pure: same arguments, same decision. `state` is None at the first one."""

    def decide(self, observation: Observation, state: Any) -> Decision[Any]:
        """How many replicas this model is to have, once a second."""
