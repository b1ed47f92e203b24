"""Ray Serve's default policy, from Ray's own code, for the simulator: what a deployment does if nothing is said."""

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.serve import autoscaling_policy as ray_policy
from ray.serve.config import AutoscalingConfig

from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.simulator.seen import Seen


@dataclass(slots=True)
class ServeState:
    """`target` is what was decided last, `internal` what Ray remembers between two decisions."""

    ongoing: deque[int]
    internal: dict[str, Any] = field(default_factory=dict)
    target: int | None = None


@dataclass(frozen=True, slots=True)
class ServeDefault:
    """`target` is Ray's `target_ongoing_requests`; delays and look-back are Ray's defaults."""

    target: float = 2.0

    def decide(self, observation: Observation, state: ServeState | None) -> Decision[ServeState]:
        seen = observation
        if not isinstance(seen, Seen):
            raise TypeError("Serve goes by ongoing requests, which only the simulator shows")
        config = (
            AutoscalingConfig(min_replicas=1, max_replicas=seen.replicas_max, target_ongoing_requests=self.target)
            if state is None
            else state.internal["config"]
        )
        state = state or ServeState(deque(maxlen=int(config.look_back_period_s)), {"config": config})
        state.ongoing.append(seen.ongoing)
        if state.target is None:
            state.target = max(seen.running + len(seen.pending_ages_s), 1)
        state.target = min(max(self._advice(seen, state, config), 1), seen.replicas_max)
        return Decision(state.target, state.target, state, Reasons({"ongoing": seen.ongoing}))

    def _advice(self, seen: Seen, state: ServeState, config: AutoscalingConfig) -> int:
        """What Ray's wrapper does around its policy, with the simulator's clock in place of the wall's."""
        context: Any = SimpleNamespace(
            config=config,
            current_num_replicas=seen.running,
            target_num_replicas=state.target,
            total_num_requests=sum(state.ongoing) / len(state.ongoing),
        )
        cold = ray_policy._get_cold_start_scale_up_replicas(context)  # noqa: SLF001  # pinned by version, as all of Ray
        if cold is not None:
            return int(cold)
        desired, _ = ray_policy._core_replica_queue_length_policy(context)  # noqa: SLF001
        scaled = ray_policy._apply_scaling_factors(desired, seen.running, config)  # noqa: SLF001
        if seen.running == 0 and scaled > 0:
            return int(scaled)
        decided, state.internal = ray_policy._apply_delay_logic(  # noqa: SLF001
            max(0, scaled), state.target or 0, config, state.internal, _now=seen.now_s
        )
        return int(decided)
