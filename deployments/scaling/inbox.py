"""What all gateways report, put together: one reading a second. Pure: the clock is an argument.

Counters are cumulative. A lost report costs freshness only; a gateway that starts anew has a new epoch, and counts from
zero. A gateway whose report is due is taken to go on as before; what it would have said fades when it stays silent, and is
taken off what it reports when it is back.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from deployments.scaling.report import NOTHING, Counts, Levels, Report

DUE_S = 1.5
SILENT_S = 5.0
RATE_S = 30.0  # memory of a gateway's rate
FADE_S = 30.0
FORGOTTEN_S = SILENT_S + 5 * FADE_S


@dataclass(frozen=True, slots=True)
class Reading:
    """One model. `flows` are since the reading before; None if no gateway that is heard of serves it, which is not zero."""

    flows: Counts | None
    levels: Levels | None
    age_s: float


UNHEARD = Reading(None, None, 0.0)


@dataclass(slots=True)
class _Sender:
    report: Report
    heard_s: float
    reports: int = 1
    rates: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))  # a second, of arrivals
    guessed: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))  # while it was silent

    def silent_s(self, now_s: float) -> float:
        return now_s - self.heard_s

    def weight(self, now_s: float) -> float:
        """1 while it is heard, then less and less."""
        return math.exp(-max(self.silent_s(now_s) - SILENT_S, 0.0) / FADE_S)


class Inbox:
    """`since_s`: when it began to listen."""

    def __init__(self, since_s: float) -> None:
        self._since_s = since_s
        self._read_s = since_s
        self._senders: dict[str, _Sender] = {}
        self._flows: dict[str, Counts] = defaultdict(Counts)

    def take(self, report: Report, now_s: float) -> None:
        """Of reports that overtake each other the newest counts."""
        known = self._senders.get(report.sender)
        if known and known.report.epoch == report.epoch:
            if report.sequence > known.report.sequence:
                self._senders[report.sender] = self._go_on(known, report, now_s)
            return
        if report.age_s <= now_s - self._since_s:  # all of it happened while this listened
            for model, counts in report.counts.items():
                self._flows[model] = self._flows[model].plus(counts)
        self._senders[report.sender] = _Sender(report, now_s)

    def read(self, now_s: float) -> dict[str, Reading]:
        """By model; flows begin anew."""
        self._guess(now_s)
        flows, self._flows, self._read_s = self._flows, defaultdict(Counts), now_s
        models = {model for sender in self._senders.values() for model in sender.report.counts}
        return {model: self._reading(model, flows[model], now_s) for model in models}

    def _go_on(self, known: _Sender, report: Report, now_s: float) -> _Sender:
        span_s = max(now_s - known.heard_s, 0.1)
        newest = max(1 - math.exp(-span_s / RATE_S), 1 / known.reports)
        heard = _Sender(report, now_s, known.reports + 1)
        for model, counts in report.counts.items():
            more = counts.since(known.report.counts.get(model, NOTHING))
            rate = more.arrivals().times(1 / span_s)
            heard.rates[model] = known.rates[model].times(1 - newest).plus(rate.times(newest))
            heard.guessed[model] = known.guessed[model].since(more)
            self._flows[model] = self._flows[model].plus(more.since(known.guessed[model]))
        return heard

    def _guess(self, now_s: float) -> None:
        """What gateways would have said whose report is due."""
        span_s = now_s - self._read_s
        for name, sender in list(self._senders.items()):
            if sender.silent_s(now_s) > FORGOTTEN_S:
                del self._senders[name]
            elif sender.silent_s(now_s) > DUE_S:
                for model, rate in sender.rates.items():
                    guess = rate.times(span_s * sender.weight(now_s))
                    sender.guessed[model] = sender.guessed[model].plus(guess)
                    self._flows[model] = self._flows[model].plus(guess)

    def _reading(self, model: str, flows: Counts, now_s: float) -> Reading:
        senders = [sender for sender in self._senders.values() if model in sender.report.counts]
        age_s = max(sender.silent_s(now_s) for sender in senders)
        if all(sender.silent_s(now_s) > SILENT_S for sender in senders):
            return Reading(None, None, age_s)
        weighed = [(sender.report.levels[model], sender.weight(now_s)) for sender in senders]
        levels = Levels(
            backlog_work_s=sum(level.backlog_work_s * weight for level, weight in weighed),
            batch_backlog_work_s=sum(level.batch_backlog_work_s * weight for level, weight in weighed),
            oldest_wait_s=max(level.oldest_wait_s * weight for level, weight in weighed),
            in_flight_work_s=sum(level.in_flight_work_s * weight for level, weight in weighed),
        )
        return Reading(flows, levels, age_s)
