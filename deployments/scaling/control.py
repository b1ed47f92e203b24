"""The governor's mind: signals in, once a second a decision for each model, made explainable. Pure but for its state."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoscaling import pool
from autoscaling.ask import Ask, Grant
from autoscaling.config import Config
from autoscaling.observation import Decision, Observation
from autoscaling.offer import Offer
from autoscaling.policy import State, WorkPolicy
from autoscaling.pool import Pool
from autoscaling.row import Row
from autoscaling.season import Season
from deployments.scaling.inbox import UNHEARD, Inbox, Reading
from deployments.scaling.replicas import Replicas, Serving, Stages
from deployments.scaling.report import News, Report
from deployments.scaling.rows import Rows

TICK_S = 1.0
# Without word from Serve's controller for so long nothing is decided: what runs is not known.
STALE_S = 10.0
# Batch-class work is in no hurry: a replica of its own for each so many replica-seconds that wait.
BATCH_DRAIN_S = 600.0
STARTS_SHOWN = 10
# What only gateways know.
SIGNALS = (
    "arrived_work_s",
    "arrived_requests",
    "finished_expected_s",
    "finished_observed_s",
    "met",
    "missed",
    "backlog_work_s",
    "oldest_wait_s",
    "in_flight_work_s",
    "batch_backlog_work_s",
)


@dataclass(frozen=True, slots=True)
class Member:
    """A model of the fleet. `start_s`: its start-up time until one was seen."""

    model: str
    offer: Offer
    start_s: float
    priority: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many replicas a model is to have now; `batch` of them for batch-class work."""

    replicas: int
    batch: int
    want: int
    granted: int | None


@dataclass(slots=True)
class _Model:
    member: Member
    replicas: Replicas
    season: Season
    state: State | None = None
    verdict: Verdict | None = None
    was_late: bool = False  # at the reading before

    def may_be_decided(self, reading: Reading, now_s: float) -> bool:
        """Serve has spoken of it; and where it has no replica, so has a gateway: else there is nobody to serve."""
        serving = self.replicas.serving
        is_known = serving is not None and self.replicas.age_s(now_s) <= STALE_S
        return is_known and bool(reading.flows is not None or (serving and serving.target))


class Control:
    """`gpus` None: no pool, every model gets what it wants. `seasons` are those of days before, by model."""

    def __init__(
        self, members: Sequence[Member], gpus: Pool | None, config: Config, now_s: float, seasons: Mapping[str, Season]
    ) -> None:
        self._pool = gpus
        self._config = config
        self._policy = WorkPolicy(config)
        self._inbox = Inbox(now_s)
        self._since_s = self._ticked_s = now_s
        self._models = {
            member.model: _Model(member, Replicas(member.start_s), seasons.get(member.model, Season.none()))
            for member in members
        }
        self.rows = Rows()

    def report(self, report: Report, now_s: float) -> dict[str, News]:
        """A gateway has reported. Returns what it should know."""
        self._inbox.take(report, now_s)
        return {name: self._news(model, now_s) for name, model in self._models.items()}

    def see(self, model: str, serving: Serving, now_s: float) -> None:
        """Serve's controller has said how a model stands."""
        if model in self._models:
            self._models[model].replicas.see(serving, now_s)

    def started(self, model: str, replica: str, stages: Stages) -> None:
        """A replica is ready."""
        if model in self._models:
            self._models[model].replicas.started(replica, stages)

    def exist(self, actors: set[str]) -> None:
        """These actors exist, and no others."""
        for model in self._all():
            model.replicas.exist(actors)

    @property
    def drains(self) -> bool:
        """Whether a replica is on its way out, as far as is known."""
        return any(model.replicas.draining for model in self._all())

    def verdict(self, model: str) -> Verdict | None:
        """The last one; None if nothing is known of this model yet."""
        return self._models[model].verdict if model in self._models else None

    def explain(self, model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        """Rows as plain values, the newest first: of one model before `at_s`, or the latest of each; and its last starts."""
        found = self.rows.of(model, at_s, limit) if model else self.rows.latest()
        starts = list(self._models[model].replicas.starts)[-STARTS_SHOWN:] if model in self._models else []
        return {"rows": [asdict(row) for row in found], "starts": [start.told() for start in reversed(starts)]}

    def rates(self) -> dict[str, float]:
        """Work that arrives, over the last minute, in replica-seconds a second."""
        return {row.model: row.facts.rate_1m for row in self.rows.latest()}

    def tick(self, now_s: float) -> bool:
        """Decide, if it is time: whether it was."""
        span_s = now_s - self._ticked_s
        if span_s < TICK_S:
            return False
        self._ticked_s = now_s
        readings = self._inbox.read(now_s)
        if self._pool and now_s - self._since_s < STALE_S and any(m.replicas.serving is None for m in self._all()):
            return True  # what somebody holds is not free, only unknown
        known = [model for model in self._all() if model.may_be_decided(self._reading(model, readings), now_s)]
        seen = {
            model.member.model: self._observation(model, self._reading(model, readings), now_s, span_s)
            for model in known
        }
        wants = {model.member.model: self._decided(model, seen[model.member.model]) for model in known}
        grants = self._grants(known, seen, wants, now_s)
        for model in known:
            name = model.member.model
            self._settle(model, seen[name], wants[name], grants, [m.member.model for m in known if m is not model])
        return True

    def _observation(self, model: _Model, reading: Reading, now_s: float, span_s: float) -> Observation:
        replicas, serving = model.replicas, model.replicas.serving
        assert serving
        known = Observation(
            now_s=now_s,
            **dict.fromkeys(SIGNALS),
            running=len(serving.running),
            pending_ages_s=replicas.pending_ages_s(now_s),
            draining=len(replicas.draining),
            start_s=replicas.start_s,
            start_p99_s=replicas.start_p99_s,
            replicas_min=serving.replicas_min,
            replicas_max=serving.replicas_max,
            signal_age_s=reading.age_s,
        )
        flows, levels = reading.flows, reading.levels
        if flows is None or levels is None:
            return known
        # Replicas are surely busy only while others wait: then what they finish is what they can do.
        was_late, model.was_late = model.was_late, levels.backlog_work_s > 0
        is_busy = was_late and model.was_late
        return replace(
            known,
            arrived_work_s=flows.arrived_work_s,
            arrived_requests=round(flows.arrived_requests),
            finished_expected_s=flows.finished_work_s if is_busy else 0.0,
            finished_observed_s=len(serving.running) * span_s if is_busy else 0.0,
            met=round(flows.met),
            missed=round(flows.missed),
            backlog_work_s=levels.backlog_work_s,
            oldest_wait_s=levels.oldest_wait_s,
            in_flight_work_s=levels.in_flight_work_s,
            batch_backlog_work_s=levels.batch_backlog_work_s,
        )

    def _decided(self, model: _Model, seen: Observation) -> Decision[State]:
        state = model.state or replace(State.first(seen, self._config), season=model.season)
        return self._policy.decide(seen, state)

    def _grants(
        self,
        models: Sequence[_Model],
        seen: Mapping[str, Observation],
        wants: Mapping[str, Decision[State]],
        now_s: float,
    ) -> dict[str, Grant] | None:
        """None where there is no pool."""
        if self._pool is None:
            return None
        asks = [self._ask(model, seen[model.member.model], wants[model.member.model], now_s) for model in models]
        # Those that Serve is silent about keep what they had.
        silent = (model for model in self._all() if model.member.model not in seen)
        asks += [_kept(model) for model in silent if model.replicas.serving]
        try:
            return pool.share(self._pool, asks)
        except pool.DoesNotFit:  # more is in use than there is
            return {ask.model: Grant(ask.holding) for ask in asks}

    def _ask(self, model: _Model, seen: Observation, decision: Decision[State], now_s: float) -> Ask:
        return Ask(
            model=model.member.model,
            offer=model.member.offer,
            want=decision.want,
            floor=seen.replicas_min,
            priority=model.member.priority,
            benefits=decision.benefits,
            holding=seen.running + len(seen.pending_ages_s),
            draining=seen.draining,
            unpaid=model.replicas.unpaid(now_s),
            batch=_batch_wanted(seen, decision.want),
        )

    def _settle(
        self,
        model: _Model,
        seen: Observation,
        decision: Decision[State],
        grants: Mapping[str, Grant] | None,
        others: Sequence[str],
    ) -> None:
        """The decision under its grant becomes the verdict, and a row."""
        batch, granted = _batch_wanted(seen, decision.want), None
        if grants is not None:
            grant = grants[model.member.model]
            batch, granted = grant.batch, grant.replicas
            decision = self._decided(model, replace(seen, granted=granted))  # the same but for what it may have
        model.state = decision.state
        replicas = min(decision.replicas + batch, max(seen.replicas_max, decision.replicas))
        model.verdict = Verdict(replicas, batch, decision.want, granted)
        hourly = model.member.offer.hourly_nano_usd
        competitors = tuple(others) if grants is not None else ()
        row = Row.of(seen.now_s, model.member.model, decision, self._config, competitors, hourly)
        if batch:
            words = f"{row.words}; {batch} more for batch work"
            row = replace(row, words=words, hourly_after_nano_usd=replicas * hourly)
        self.rows.add(row)

    def _reading(self, model: _Model, readings: Mapping[str, Reading]) -> Reading:
        return readings.get(model.member.model, UNHEARD)

    def _all(self) -> Collection[_Model]:
        return self._models.values()

    def _news(self, model: _Model, now_s: float) -> News:
        serving = model.replicas.serving
        known = serving is not None and model.replicas.age_s(now_s) <= STALE_S
        running = len(serving.running) if serving and known else None
        return News(running, model.replicas.expected_s(now_s))


def _batch_wanted(seen: Observation, want: int) -> int:
    """Replicas for what waits of the batch class, on top of those for the others: those help as well."""
    waiting_s = seen.batch_backlog_work_s or 0.0
    return max(min(math.ceil(waiting_s / BATCH_DRAIN_S), seen.replicas_max) - want, 0)


def _kept(model: _Model) -> Ask:
    serving = model.replicas.serving
    assert serving
    holding = max(serving.target, len(serving.running))
    return Ask(
        model.member.model,
        model.member.offer,
        holding,
        holding,
        holding=holding,
        draining=len(model.replicas.draining),
    )
