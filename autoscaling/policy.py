"""The policy: looks, answers, learns. `docs/autoscaling.md` says how it decides, and how well."""

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Self

import numpy as np

from autoscaling import benefit, words
from autoscaling.arrival import Arrivals, blend
from autoscaling.budget import Budget, Seen
from autoscaling.config import Config
from autoscaling.correction import Correction
from autoscaling.facts import NEVER_S, Answer, Facts, answer
from autoscaling.forecast import Held
from autoscaling.observation import Decision, Observation, Reasons
from autoscaling.pending import overdue
from autoscaling.replay import Moment, Replay, margins
from autoscaling.season import Season

FIRST_S = 60.0  # of arrivals, before a forecast means anything
BENEFITS_S = 60.0  # between two benefit curves
TERMS = tuple(term.name for of in (Facts, Answer) for term in fields(of))
FACTS_OF = attrgetter(*(fact.name for fact in fields(Facts)))
ANSWER_OF = attrgetter(*(term.name for term in fields(Answer)))


@dataclass(frozen=True, slots=True)
class State:
    """What was learnt until `now_s`: constant in size."""

    now_s: float
    busy_s: float  # when there was last anything to do
    want: int
    arrivals: Arrivals
    seconds: tuple[Seen, ...]  # of the open bin: what the replay has not seen
    season: Season
    held: Held
    replay: Replay
    budget: Budget
    correction: Correction
    benefits: tuple[float, ...] = ()

    @classmethod
    def first(cls, observation: Observation, config: Config) -> Self:
        """Nothing is known. A model that runs already is taken for busy."""
        return cls(
            now_s=observation.now_s - 1.0,
            busy_s=observation.now_s if observation.running else -NEVER_S,
            want=0,
            arrivals=Arrivals.none(),
            seconds=(),
            season=Season.none(),
            held=Held.none(config.forecasts),
            replay=Replay.none(config),
            budget=Budget(),
            correction=Correction(),
        )


@dataclass(frozen=True, slots=True)
class WorkPolicy:
    """Enough replicas for the work that arrives, by the forecast that would have been the cheapest."""

    config: Config = field(default_factory=Config)

    def decide(self, observation: Observation, state: State | None) -> Decision[State]:
        state = state or State.first(observation, self.config)
        seen = self._seen(observation, state)
        arrivals = state.arrivals.arrive(seen.work_s, seen.span_s)
        facts = self._look(observation, state, arrivals)
        result = answer(facts, self.config)
        return Decision(
            want=result.want,
            replicas=result.replicas,
            state=self._learn(observation, state, seen, arrivals, facts, result),
            reasons=Reasons(_terms(facts, result), words.sentence(facts, result, self.config)),
            benefits=self._worth_now(state, facts, result),
        )

    def _worth_now(self, state: State, facts: Facts, result: Answer) -> tuple[float, ...]:
        """What arrives and waits at this moment counts as it is; what may come on top of it, as it was before."""
        present = min(facts.rate_1m + result.backlog, float(result.want))
        return benefit.with_present(state.benefits, present, 3600 * present / state.replay.request_s)

    def _seen(self, observation: Observation, state: State) -> Seen:
        """Arrivals that nobody reported are taken to go on as before."""
        span_s = max(observation.now_s - state.now_s, 1e-3)
        work_s = observation.arrived_work_s
        if work_s is None:
            work_s = blend(state.arrivals.rates) * span_s
        else:
            work_s *= state.correction.factor(self.config)
        return Seen(
            span_s=span_s,
            work_s=work_s,
            requests=observation.arrived_requests or 0,
            running=observation.running,
            met=observation.met or 0,
            missed=observation.missed or 0,
        )

    def _look(self, observation: Observation, state: State, arrivals: Arrivals) -> Facts:
        """Arrivals with those of this moment; all that was learnt, as it was before: more load never means less."""
        row, margin = state.replay.chosen(self.config)
        forecast = self.config.forecasts[row]
        rate_1m, rate_5m, rate_15m = arrivals.rates
        correction = state.correction.factor(self.config)
        return Facts(
            rate_1m=rate_1m,
            rate_5m=rate_5m,
            rate_15m=rate_15m,
            deviation=state.arrivals.deviation,
            season=state.season.ahead(observation.now_s, observation.start_s),
            deviations=forecast.deviations,
            seasonal=forecast.seasonal,
            hold_s=forecast.hold_s,
            held=state.held.level(row),
            margin=margin,
            backlog_s=(observation.backlog_work_s or 0.0) * correction,
            oldest_wait_s=observation.oldest_wait_s or 0.0,
            correction=correction,
            running=observation.running,
            pending=len(observation.pending_ages_s),
            overdue=overdue(observation.pending_ages_s, observation.start_p99_s),
            draining=observation.draining,
            idle_s=0.0 if _busy(observation) else observation.now_s - state.busy_s,
            start_s=observation.start_s,
            attainment=state.budget.attainment,
            late_share=state.budget.share(self.config),
            blind=observation.arrived_work_s is None or observation.backlog_work_s is None,
            new=arrivals.age_s < self.config.warm_s,
            last_want=state.want,
            replicas_min=observation.replicas_min,
            replicas_max=observation.replicas_max,
            granted=observation.granted,
            signal_age_s=observation.signal_age_s,
        )

    def _learn(
        self, observation: Observation, state: State, seen: Seen, arrivals: Arrivals, facts: Facts, result: Answer
    ) -> State:
        config = self.config
        replay, seconds = state.replay, (*state.seconds, seen)
        budget = state.budget.then(seen, config)
        held, benefits = state.held, state.benefits
        if arrivals.full:
            held = held.then(self._levels(facts), arrivals.open_s, config.forecasts)
            if arrivals.age_s >= FIRST_S:
                replay = replay.arrive(seconds, config.slack_s)
                moment = Moment(
                    held.levels, facts.deviation, arrivals.open_s, observation.start_s, budget.share(config)
                )
                replay = replay.close(moment, config)
                if arrivals.age_s // BENEFITS_S != (arrivals.age_s - arrivals.open_s) // BENEFITS_S:
                    benefits = self._benefits(replay, held, result.want)
            arrivals, seconds = arrivals.close(), ()
        return State(
            now_s=observation.now_s,
            busy_s=observation.now_s if _busy(observation) else state.busy_s,
            want=result.want,
            arrivals=arrivals,
            seconds=seconds,
            season=state.season.arrive(observation.now_s, seen.work_s, seen.span_s),
            held=held,
            replay=replay,
            budget=budget,
            correction=state.correction.then(observation.finished_expected_s, observation.finished_observed_s, config),
            benefits=benefits,
        )

    def _levels(self, facts: Facts) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        rate = blend((facts.rate_1m, facts.rate_5m, facts.rate_15m))
        return np.array([forecast.level(rate, facts.deviation, facts.season) for forecast in self.config.forecasts])

    def _benefits(self, replay: Replay, held: Held, want: int) -> tuple[float, ...]:
        row, _ = replay.chosen(self.config)
        hourly = 3600 * replay.requests / replay.span_s
        served = hourly * (1 - replay.late_share(self.config)[row])
        return benefit.curve(margins(self.config) * max(held.level(row), 1e-9), served, want)


def _terms(facts: Facts, result: Answer) -> dict[str, float]:
    """Facts and terms by name; what nobody knows is left out."""
    terms = dict(zip(TERMS, (*FACTS_OF(facts), *ANSWER_OF(result)), strict=True))
    if facts.granted is None:
        del terms["granted"]
    return terms


def _busy(observation: Observation) -> bool:
    """A flow or a level that is not known counts as something to do."""
    return bool(
        observation.arrived_work_s is None
        or observation.backlog_work_s is None
        or observation.arrived_work_s
        or observation.backlog_work_s
        or observation.in_flight_work_s
    )
