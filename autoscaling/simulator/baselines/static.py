"""As many replicas as the peak needs, always."""

from dataclasses import dataclass

from autoscaling.observation import Decision, Observation, Reasons


@dataclass(frozen=True, slots=True)
class Static:
    replicas: int

    def decide(self, observation: Observation, state: None) -> Decision[None]:
        return Decision(self.replicas, self.replicas, None, Reasons(words=f"always {self.replicas}"))
