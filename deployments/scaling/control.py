"""The governor's mind: signals in, once a second a decision for each model, made explainable. Pure but for its state."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from autoscaling import pool
from autoscaling.ask import Grant
from autoscaling.config import Config
from autoscaling.observation import Decision, Observation
from autoscaling.policy import State, WorkPolicy
from autoscaling.pool import Pool
from autoscaling.row import Row
from autoscaling.season import Season
from deployments.scaling.inbox import UNHEARD, Inbox
from deployments.scaling.model import STALE_S, Member, Model, Verdict, batch_wanted
from deployments.scaling.replicas import Serving, Stages
from deployments.scaling.report import News, Report
from deployments.scaling.rows import Rows

TICK_S = 1.0
STARTS_SHOWN = 10


class Control:
    """`gpus` None: no pool, every model gets what it wants. `seasons` are those of days before, by model; `rows` go on."""

    def __init__(
        self,
        members: Sequence[Member],
        gpus: Pool | None,
        config: Config,
        now_s: float,
        seasons: Mapping[str, Season],
        rows: Rows | None = None,
    ) -> None:
        self._pool = gpus
        self._config = config
        self._policy = WorkPolicy(config)
        self._inbox = Inbox(now_s)
        self._since_s = self._ticked_s = now_s
        self._models = {member.model: Model(member, seasons.get(member.model, Season.none())) for member in members}
        self.rows = rows or Rows()

    def report(self, report: Report, now_s: float) -> dict[str, News]:
        """A gateway has reported. Returns what it should know."""
        self._inbox.take(report, now_s)
        return {name: model.news(now_s) for name, model in self._models.items()}

    def see(self, name: str, serving: Serving, now_s: float) -> None:
        """Serve's controller has said how a model stands."""
        if model := self._models.get(name):
            model.replicas.see(serving, now_s)

    def started(self, name: str, replica: str, stages: Stages) -> None:
        """A replica is ready."""
        if model := self._models.get(name):
            model.replicas.started(replica, stages)

    def exist(self, actors: set[str]) -> None:
        """These actors exist, and no others."""
        for model in self._models.values():
            model.replicas.exist(actors)

    @property
    def drains(self) -> bool:
        """Whether a replica is on its way out, as far as is known."""
        return any(model.replicas.draining for model in self._models.values())

    def verdict(self, name: str) -> Verdict | None:
        """The last one; None if nothing is known of this model yet."""
        model = self._models.get(name)
        return model.verdict if model else None

    def explain(self, name: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        """Rows as plain values, the newest first: of one model before `at_s`, or the latest of each; and its last starts."""
        found = self.rows.of(name, at_s, limit) if name else self.rows.latest()
        starts = list(self._models[name].replicas.starts)[-STARTS_SHOWN:] if name in self._models else []
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
        if self._pool and now_s - self._since_s < STALE_S and self._some_unseen:
            return True  # what somebody holds is not free, only unknown
        seen = {
            name: model.observe(readings.get(name, UNHEARD), now_s, span_s)
            for name, model in self._models.items()
            if model.may_be_decided(readings.get(name, UNHEARD), now_s)
        }
        wants = {name: self._decided(name, seen[name]) for name in seen}
        grants = self._grants(seen, wants)
        for name, observation in seen.items():
            self._settle(name, observation, wants[name], grants)
        return True

    @property
    def _some_unseen(self) -> bool:
        return any(model.replicas.serving is None for model in self._models.values())

    def _decided(self, name: str, seen: Observation) -> Decision[State]:
        model = self._models[name]
        state = model.state or replace(State.first(seen, self._config), season=model.season)
        return self._policy.decide(seen, state)

    def _grants(self, seen: Mapping[str, Observation], wants: Mapping[str, Decision[State]]) -> dict[str, Grant] | None:
        """None where there is no pool."""
        if self._pool is None:
            return None
        asks = [
            model.ask(seen[name], wants[name]) if name in seen else model.keep() for name, model in self._models.items()
        ]
        try:
            return pool.share(self._pool, asks)
        except pool.DoesNotFit:  # more is in use than there is
            return {ask.model: Grant(ask.holding) for ask in asks}

    def _settle(
        self, name: str, seen: Observation, decision: Decision[State], grants: Mapping[str, Grant] | None
    ) -> None:
        """The decision under its grant becomes the verdict, and a row."""
        model, batch, granted = self._models[name], batch_wanted(seen, decision.want), None
        competitors: tuple[str, ...] = ()
        if grants is not None:
            batch, granted = grants[name].batch, grants[name].replicas
            competitors = tuple(other for other in grants if other != name)
            decision = self._decided(name, replace(seen, granted=granted))  # the same but for what it may have
        replicas = min(decision.replicas + batch, max(seen.replicas_max, decision.replicas))
        model.state, model.verdict = decision.state, Verdict(replicas, batch, decision.want, granted)
        model.decided_s = seen.now_s
        hourly = model.member.offer.hourly_nano_usd
        row = Row.of(seen.now_s, name, decision, self._config, competitors, hourly)
        if batch:
            words = f"{row.words}; {batch} more for batch work"
            row = replace(row, words=words, hourly_after_nano_usd=replicas * hourly)
        self.rows.add(row)
