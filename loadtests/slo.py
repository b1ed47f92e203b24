"""Whether the load was served as promised. Goodput counts every request that was due: refused and failed ones missed. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.record import Record


@dataclass(frozen=True, slots=True)
class Slo:
    """What each answer has to keep, and the share of requests that has to."""

    ttft_ms: float = 2_000.0
    tpot_ms: float = 100.0
    goodput_min: float = 0.99

    def met(self, record: Record) -> bool:
        """Whether the request was answered whole and in time."""
        answer = record.answer
        return answer is not None and answer.ttft_ms <= self.ttft_ms and answer.tpot_ms <= self.tpot_ms


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` is empty if the run passed."""

    goodput: float
    why: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.why


# Above it the load generator, not the server, was measured.
LAG_P99_MS_MAX = 10.0


def parse_slo(text: str, goodput_min: float) -> Slo:
    """The promise of `ttft=2000,tpot=100`, in milliseconds. Raises ValueError."""
    given = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in {"ttft", "tpot"} or not value.replace(".", "", 1).isdigit():
            raise ValueError("an SLO looks like ttft=2000,tpot=100, in milliseconds")
        given[f"{name.strip()}_ms"] = float(value)
    return Slo(**given, goodput_min=goodput_min)


def verdict(records: Sequence[Record], lag_p99_ms: float, slo: Slo) -> Verdict:
    """Judge a run."""
    good = sum(slo.met(record) for record in records)
    goodput = good / len(records) if records else 0.0
    why = []
    if goodput < slo.goodput_min:
        why.append(f"{goodput:.1%} of the requests met the SLO, and {slo.goodput_min:.1%} were promised")
    if lag_p99_ms > LAG_P99_MS_MAX:
        why.append(
            f"the load generator itself was {lag_p99_ms:.0f} ms late at p99: use --processes, another machine or a lower"
            " --rate"
        )
    return Verdict(goodput, tuple(why))
