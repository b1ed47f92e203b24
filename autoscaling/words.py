"""A decision in one sentence, for people."""

from autoscaling.config import Config
from autoscaling.facts import NEVER_S, Answer, Facts

AMOUNT_SHOWN_MIN = 0.1
# As long as the rate of arrivals looks back.
IDLE_S = 60.0


def sentence(facts: Facts, answer: Answer, config: Config) -> str:
    parts = [_arrival(facts, answer), _backlog(answer, facts, config), *_why_more(facts, answer)]
    return "; ".join(part for part in parts if part) + f"; {_result(facts, answer)}"


def _arrival(facts: Facts, answer: Answer) -> str:
    if facts.idle_s >= NEVER_S:
        return "nothing has arrived yet"
    idle = f"nothing arrived for {facts.idle_s:.0f} s"
    if not answer.arrival:
        return idle
    of = f"the highest level in {facts.hold_s / 60:.0f} min" if facts.hold_s else "the present level"
    arrives = idle if facts.idle_s > IDLE_S else f"{_amount(facts.rate_1m)} GPUs of work arrive"
    return f"{arrives}; {facts.margin:.2f} x {of} asks for {_amount(answer.arrival)} replicas"


def _backlog(answer: Answer, facts: Facts, config: Config) -> str:
    if not answer.backlog:
        return ""
    return f"backlog {facts.backlog_s:.0f} GPU-s needs {_amount(answer.backlog)} more within {config.drain_s:.0f} s"


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


def _amount(replicas: float) -> str:
    """Of work or of replicas, to a tenth; where that would be nothing, as exactly as it takes to see that it is not."""
    if replicas >= AMOUNT_SHOWN_MIN:
        return f"{replicas:.1f}"
    return f"{replicas:.2f}" if replicas >= AMOUNT_SHOWN_MIN / 10 else "less than 0.01"
