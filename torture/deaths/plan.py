"""The kill matrix: who dies, in which order and how soon after each other. Pure: the same round is the same plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

from torture.deaths.victim import Victim

# Until everything is in its place again; docs/operations.md states both. On two busy cores it took at most half of that.
BACK_WITHIN_S = 60.0
# The head's node is the whole fleet of one machine: it is started from the beginning.
HEAD_BACK_WITHIN_S = 150.0
# The second dies at once, or while the first is coming back.
PAUSE_MAX_S = 5.0
AT_ONCE_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Kill:
    """`kill -9` to these, in this order; `pause_s` between them. `name` is the same for both orders."""

    name: str
    victims: tuple[Victim, ...]
    pause_s: float = 0.0

    @property
    def back_within_s(self) -> float:
        return HEAD_BACK_WITHIN_S if any(victim.node == "head" for victim in self.victims) else BACK_WITHIN_S

    def __str__(self) -> str:
        first, *second = (victim.name for victim in self.victims)
        return f"{first}, {self.pause_s:.1f} s later {second[0]}" if second else first


def plan_of(rounds: Sequence[int], victims: Sequence[Victim]) -> list[Kill]:
    """In each round everyone once alone, and once each pair of those that die in pairs."""
    return [kill for number in rounds for kill in _round(number, victims)]


def _round(number: int, victims: Sequence[Victim]) -> Iterator[Kill]:
    random = Random(number)  # noqa: S311  # a plan is no secret
    for victim in victims:
        yield Kill(victim.name, (victim,))
    for pair in combinations([victim for victim in victims if victim.in_pairs], 2):
        pause_s = 0.0 if random.random() < AT_ONCE_SHARE else random.uniform(0.0, PAUSE_MAX_S)
        yield Kill(" + ".join(victim.name for victim in pair), tuple(random.sample(pair, 2)), pause_s)
