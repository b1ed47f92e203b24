"""The error budget: how many of the coming requests may be late, so that the promise is kept over the memory."""

import math
from dataclasses import dataclass
from typing import Self

from autoscaling.config import Config


@dataclass(frozen=True, slots=True)
class Seen:
    """What happened during `span_s`; `work_s` and `requests` arrived."""

    span_s: float
    work_s: float
    requests: float
    running: int
    met: int
    missed: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests, met and missed, and how many the replay of the real fleet foresaw as late. They fade."""

    met: float = 0.0
    missed: float = 0.0
    foreseen: float = 0.0
    backlog_s: float = 0.0  # of the replay

    @property
    def attainment(self) -> float:
        requests = self.met + self.missed
        return self.met / requests if requests else 1.0

    def then(self, seen: Seen, config: Config) -> Self:
        backlog_s = max(self.backlog_s + seen.work_s - seen.running * seen.span_s, 0.0)
        late = seen.requests if backlog_s > config.slack_s * seen.running else 0.0
        fade = math.exp(-seen.span_s / config.memory_s)
        return type(self)(
            fade * self.met + seen.met, fade * self.missed + seen.missed, fade * self.foreseen + late, backlog_s
        )

    def share(self, config: Config) -> float:
        """Of the replay's requests, so many may be late.

        Feedback: what was overspent is saved. Bounded, so that neither a bad day nor a good one winds it up.
        Divided by how many times more requests are late than the replay foresees.
        """
        planned = config.late_share
        aim = planned + config.gain * (planned - (1 - self.attainment))
        aim = min(max(aim, config.share_min * planned), config.share_max * planned)
        return aim / self._worse(config)

    def _worse(self, config: Config) -> float:
        """Than the replay; 1 until enough requests were late to tell."""
        few = 20 + 0.2 * config.late_share * (self.met + self.missed)
        ratio = (self.missed + few) / (self.foreseen + few)
        return min(max(ratio, config.doubt_min), config.doubt_max)
