"""A decision in one sentence, for people."""

from autoscaling.config import Config
from autoscaling.facts import NEVER_S, Answer, Facts


def sentence(facts: Facts, answer: Answer, config: Config) -> str:
    parts = [_arrival(facts, answer), _backlog(answer, facts, config), *_why_more(facts, answer)]
    return "; ".join(part for part in parts if part) + f"; {_result(facts, answer)}"


def _arrival(facts: Facts, answer: Answer) -> str:
    if facts.idle_s >= NEVER_S:
        return "nothing has arrived yet"
    if not answer.arrival:
        return f"nothing arrived for {facts.idle_s:.0f} s"
    of = f"the highest level in {facts.hold_s / 60:.0f} min" if facts.hold_s else "the present level"
    return f"{facts.rate_1m:.1f} GPUs of work arrive; {facts.margin:.2f} x {of} asks for {answer.arrival:.1f} replicas"


def _backlog(answer: Answer, facts: Facts, config: Config) -> str:
    if not answer.backlog:
        return ""
    return f"backlog {facts.backlog_s:.0f} GPU-s needs {answer.backlog:.1f} more within {config.drain_s:.0f} s"


def _why_more(facts: Facts, answer: Answer) -> list[str]:
    parts = []
    if answer.want == answer.floor and answer.arrival + answer.backlog <= answer.floor - 1:
        parts.append(f"the floor is {answer.floor}")
    if facts.blind:
        parts.append("a signal is missing, so nothing is given back")
    if facts.new:
        parts.append("too little has been seen to give anything back")
    if facts.overdue:
        parts.append(f"{facts.overdue} starts are overdue")
    return parts


def _result(facts: Facts, answer: Answer) -> str:
    have = f"{facts.running} running, {facts.pending} starting"
    if answer.replicas < answer.want:
        return f"pool granted {answer.replicas} of {answer.want} ({have})"
    return f"{answer.replicas} replicas ({have})"
