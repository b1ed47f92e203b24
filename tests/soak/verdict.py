"""Whether a fleet held: what an honest client got in peace and beside all attacks, and what the attackers were answered. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# How much longer an honest client may wait beside all attacks than alone.
P95_TIMES_MAX = 3.0
# A client's mistake is none of the server's: these are never an attacker's answer.
NEVER = ("500", "502", "504", "a broken stream was told as a whole one")


@dataclass(frozen=True)
class Honest:
    """What one client saw over some time: how long each answer took, and what was wrong or refused."""

    latencies_s: tuple[float, ...]
    wrong: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def p95_s(self) -> float:
        """The smallest latency that at least 95% of the answers keep."""
        ordered = sorted(self.latencies_s)
        return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


@dataclass(frozen=True)
class Afterwards:
    """What is left when everybody has gone: holds that stay open, what `ledger verify` says, and processes that are new."""

    open_holds: int
    ledger: str
    restarted: tuple[str, ...]


def faults(quiet: Honest, abused: Honest, tally: Mapping[str, Mapping[str, int]], after: Afterwards) -> Iterator[str]:
    """A sentence for each promise that was not kept; none if the fleet held."""
    yield from _noticed(quiet, abused)
    for name, answers in tally.items():
        yield from _blamed(name, answers)
    yield from _left(after)


def _noticed(quiet: Honest, abused: Honest) -> Iterator[str]:
    if not abused.latencies_s:
        yield "the honest client got no answer"
    elif abused.p95_s > P95_TIMES_MAX * quiet.p95_s:
        yield f"the honest client's p95 was {abused.p95_s:.2f} s, {abused.p95_s / quiet.p95_s:.1f} times its quiet value"
    for kind, said in (("wrong answer", quiet.wrong + abused.wrong), ("error", quiet.errors + abused.errors)):
        for words, count in Counter(said).most_common(5):
            yield f"the honest client got {count} times this {kind}: {words}"


def _blamed(name: str, answers: Mapping[str, int]) -> Iterator[str]:
    if not answers:
        yield f"{name}: never got through a turn"
    for answer, count in answers.items():
        if any(part.strip().startswith(NEVER) for part in answer.split(",")):
            yield f"{name}: {count} times {answer}"


def _left(after: Afterwards) -> Iterator[str]:
    if after.open_holds:
        yield f"{after.open_holds} holds stayed open"
    if after.ledger != "every invariant holds":
        yield f"the ledger: {after.ledger}"
    for process in after.restarted:
        yield f"{process} was started anew: it had ended"
