"""A decision that can be read, kept and made again."""

import json
from dataclasses import dataclass, fields
from typing import Any, Self

from autoscaling.config import Config
from autoscaling.facts import Answer, Facts, answer
from autoscaling.observation import Decision


@dataclass(frozen=True, slots=True)
class Row:
    """One model at one moment: what was known, what it came to, and why, in words.

    `competitors` are the models that asked the same pool; money is in nano-dollars an hour, before and after.
    """

    at_s: float
    model: str
    policy: str
    config: str  # its name: the same for equal constants
    facts: Facts
    answer: Answer
    words: str
    competitors: tuple[str, ...] = ()
    hourly_before_nano_usd: int = 0
    hourly_after_nano_usd: int = 0

    @classmethod
    def of(
        cls,
        at_s: float,
        model: str,
        decision: Decision[Any],
        config: Config,
        competitors: tuple[str, ...] = (),
        replica_hourly_nano_usd: int = 0,
    ) -> Self:
        """Of a decision by `WorkPolicy`."""
        terms = decision.reasons.terms
        facts = Facts(**{fact.name: terms.get(fact.name) for fact in fields(Facts)})  # type: ignore[arg-type]  # by name
        have = facts.running + facts.pending
        return cls(
            at_s=at_s,
            model=model,
            policy="work",
            config=config.name,
            facts=facts,
            answer=Answer(**{term.name: terms[term.name] for term in fields(Answer)}),  # type: ignore[arg-type]  # by name
            words=decision.reasons.words,
            competitors=competitors,
            hourly_before_nano_usd=have * replica_hourly_nano_usd,
            hourly_after_nano_usd=decision.replicas * replica_hourly_nano_usd,
        )

    def replay(self, config: Config) -> Answer:
        """The decision, made again. Raises ValueError if the row was written under another configuration."""
        if config.name != self.config:
            raise ValueError(f"the row is of configuration {self.config}, not {config.name}")
        return answer(self.facts, config)

    def to_json(self) -> str:
        """One line."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(plain | {"facts": _plain(self.facts), "answer": _plain(self.answer)}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        plain = json.loads(line)
        parts = {
            "facts": Facts(**plain["facts"]),
            "answer": Answer(**plain["answer"]),
            "competitors": tuple(plain["competitors"]),
        }
        return cls(**plain | parts)


def _plain(values: Facts | Answer) -> dict[str, Any]:
    return {field.name: getattr(values, field.name) for field in fields(values)}
