"""One model of the fleet, as the governor knows it: what it observes, what it asks of the pool, what was decided."""

import math
from dataclasses import dataclass, replace

from autoscaling.ask import Ask
from autoscaling.observation import Decision, Observation
from autoscaling.offer import Offer
from autoscaling.policy import State
from autoscaling.season import Season
from deployments.scaling.inbox import Reading
from deployments.scaling.replicas import Replicas
from deployments.scaling.report import News

# Without word from Serve's controller for so long nothing is decided: what runs is not known.
STALE_S = 10.0
# Batch-class work is in no hurry: a replica of its own for each so many replica-seconds that wait.
BATCH_DRAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Member:
    """What is fixed of it. `start_s`: its start-up time until one was seen."""

    model: str
    offer: Offer
    start_s: float
    priority: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many replicas it is to have now; `batch` of them for batch-class work."""

    replicas: int
    batch: int
    want: int
    granted: int | None


class Model:
    """`season`: that of the days before."""

    def __init__(self, member: Member, season: Season) -> None:
        self.member = member
        self.season = season
        self.replicas = Replicas(member.start_s)
        self.state: State | None = None
        self.verdict: Verdict | None = None
        self.decided_s: float | None = None
        self._was_late = False  # at the reading before

    def may_be_decided(self, reading: Reading, now_s: float) -> bool:
        """Serve has spoken of it; and where it has no replica, so has a gateway: else there is nobody to serve."""
        serving = self.replicas.serving
        if serving is None or self.replicas.age_s(now_s) > STALE_S:
            return False
        return reading.flows is not None or serving.target > 0

    def observe(self, reading: Reading, now_s: float, span_s: float) -> Observation:
        """This moment, of a model of which Serve has spoken."""
        replicas, serving = self.replicas, self.replicas.serving
        assert serving
        unheard = Observation(
            now_s=now_s,
            arrived_work_s=None,
            arrived_requests=None,
            finished_expected_s=None,
            finished_observed_s=None,
            met=None,
            missed=None,
            backlog_work_s=None,
            oldest_wait_s=None,
            in_flight_work_s=None,
            batch_backlog_work_s=None,
            running=len(serving.running),
            pending_ages_s=replicas.pending_ages_s(now_s),
            draining=len(replicas.draining),
            start_s=replicas.start_s,
            start_p99_s=replicas.start_p99_s,
            replicas_min=serving.replicas_min,
            replicas_max=serving.replicas_max,
            signal_age_s=reading.age_s,
        )
        return self._with_signals(unheard, reading, span_s)

    def ask(self, seen: Observation, decision: Decision[State]) -> Ask:
        """What it wants of the pool."""
        return Ask(
            model=self.member.model,
            offer=self.member.offer,
            want=decision.want,
            floor=seen.replicas_min,
            priority=self.member.priority,
            benefits=decision.benefits,
            holding=seen.running + len(seen.pending_ages_s),
            draining=seen.draining,
            unpaid=self.replicas.unpaid(seen.now_s),
            batch=batch_wanted(seen, decision.want),
        )

    def keep(self) -> Ask:
        """What it has, while nothing can be decided."""
        serving = self.replicas.serving
        holding = max(serving.target, len(serving.running)) if serving else 0
        draining = len(self.replicas.draining)
        return Ask(self.member.model, self.member.offer, holding, holding, holding=holding, draining=draining)

    def news(self, now_s: float) -> News:
        """For gateways."""
        serving = self.replicas.serving
        is_known = serving is not None and self.replicas.age_s(now_s) <= STALE_S
        running = len(serving.running) if serving and is_known else None
        undecided_s = None if self.decided_s is None else now_s - self.decided_s
        return News(running, self.replicas.expected_s(now_s), undecided_s)

    def _with_signals(self, unheard: Observation, reading: Reading, span_s: float) -> Observation:
        flows, levels = reading.flows, reading.levels
        if flows is None or levels is None:
            return unheard
        # Replicas are surely busy only while others wait: then what they finish is what they can do.
        was_late, self._was_late = self._was_late, levels.backlog_work_s > 0
        is_busy = was_late and self._was_late
        return replace(
            unheard,
            arrived_work_s=flows.arrived_work_s,
            arrived_requests=round(flows.arrived_requests),
            finished_expected_s=flows.finished_work_s if is_busy else 0.0,
            finished_observed_s=unheard.running * span_s if is_busy else 0.0,
            met=round(flows.met),
            missed=round(flows.missed),
            backlog_work_s=levels.backlog_work_s,
            oldest_wait_s=levels.oldest_wait_s,
            in_flight_work_s=levels.in_flight_work_s,
            batch_backlog_work_s=levels.batch_backlog_work_s,
        )


def batch_wanted(seen: Observation, want: int) -> int:
    """Replicas for what waits of the batch class, on top of those for the others: those help as well."""
    waiting_s = seen.batch_backlog_work_s or 0.0
    return max(min(math.ceil(waiting_s / BATCH_DRAIN_S), seen.replicas_max) - want, 0)
