"""The second witness: the tokens that an engine counted, against those of the attempts in the ledger. Pure.

    R3 work      between two idle moments of an engine, its counters grow by what the attempts in between used
    R4 runaway   while no slot is held they do not grow at all; else work that was cancelled ran on

Prompt and output tokens are compared apart, so too many of one do not hide too few of the other. Of an attempt that was cut
off we know only what had been seen of it, so it counts as a range.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from accounting.command import Sample
from accounting.life import SAMPLE_EVERY_MS
from accounting.stay import Stay

# Gateways and replicas read different clocks: at most so far apart.
CLOCK_SKEW_MS = 250
# The most output of an attempt that was cut off which its gateway had not seen: half a second's.
UNSEEN_OUTPUT_TOKENS = 256
# Samples further apart than this have lost others between them, which may have seen a slot held.
GAP_MS = 2 * SAMPLE_EVERY_MS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one life of an engine server. `unwitnessed`: it counts nothing, so nothing is known, which is not the same as clean.

    Witnessed is what the engine counted between its first and its last idle moment, and `ledger_tokens` what the attempts in
    between used at least; attempts before and after are not compared.
    """

    replica_id: str
    epoch: str
    model: str
    unwitnessed: bool
    witnessed_tokens: int = 0
    ledger_tokens: int = 0
    mismatch_tokens: int = 0
    runaway_tokens: int = 0

    @property
    def mismatch_ratio(self) -> float:
        """0: engine and ledger agree; 1: only one of them saw anything."""
        return _ratio(self.mismatch_tokens, self.witnessed_tokens, self.ledger_tokens)


def compare(samples: Iterable[Sample], stays: Iterable[Stay], context_tokens_max: int) -> list[Comparison]:
    """One comparison for every life of an engine server that was ready, by time of its first sample. `context_tokens_max` is
    the longest context of any model: the most that an attempt used of which no usage was seen.
    """
    comparing = Comparing(samples, context_tokens_max)
    comparing.add(stays)
    return comparing.comparisons()


class Comparing:
    """The same while stays come in, each once and in any order: no stay is kept, so this grows with the samples alone."""

    def __init__(self, samples: Iterable[Sample], context_tokens_max: int) -> None:
        by_life: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for sample in sorted(samples, key=lambda sample: sample.at_ms):
            by_life[sample.replica_id, sample.epoch].append(sample)
        ready = [life for life in by_life.values() if any(sample.state == "ready" for sample in life)]
        self._lives = [_WatchedLife(life, context_tokens_max) for life in ready]
        self._on_replica: dict[str, list[_WatchedLife]] = defaultdict(list)
        for life in self._lives:
            self._on_replica[life.replica_id].append(life)

    def add(self, stays: Iterable[Stay]) -> None:
        for stay in stays:
            for life in self._on_replica.get(stay.replica_id, ()):
                life.add(stay)

    def comparisons(self) -> list[Comparison]:
        return [life.comparison() for life in self._lives]


def mismatch_ratios(comparisons: Iterable[Comparison]) -> dict[str, float]:
    """The metric `vlmfleet_witness_mismatch_ratio`, by model. A model whose engines count nothing has none."""
    mismatch, witnessed, ledger = Counter[str](), Counter[str](), Counter[str]()
    for one in comparisons:
        if not one.unwitnessed:
            mismatch[one.model] += one.mismatch_tokens
            witnessed[one.model] += one.witnessed_tokens
            ledger[one.model] += one.ledger_tokens
    return {model: _ratio(mismatch[model], witnessed[model], ledger[model]) for model in mismatch}


@dataclass(frozen=True, slots=True)
class _Range:
    """How many tokens it may have been, both ends included."""

    low: int
    high: int

    def __add__(self, other: "_Range") -> "_Range":
        return _Range(self.low + other.low, self.high + other.high)

    def missed_by(self, tokens: int) -> int:
        return max(self.low - tokens, 0, tokens - self.high)


NOTHING = _Range(0, 0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A sample with counters."""

    at_ms: int
    slots_held: int
    in_flight: int
    prompt_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


class _WatchedLife:
    """A life of an engine server, and what the stays on its replica say of it: all by its readings."""

    def __init__(self, life: list[Sample], context_tokens_max: int) -> None:
        self._first = life[0]
        self._context_tokens_max = context_tokens_max
        self._readings = list(_readings(life))
        self._times = [reading.at_ms for reading in self._readings]
        self._busy: set[int] = set()
        # Of the attempts that began after reading n and before the next.
        self._prompts: dict[int, _Range] = defaultdict(lambda: NOTHING)
        self._outputs: dict[int, _Range] = defaultdict(lambda: NOTHING)

    @property
    def replica_id(self) -> str:
        return self._first.replica_id

    def add(self, stay: Stay) -> None:
        times = self._times
        self._busy.update(
            times[bisect_right(times, stay.from_ms - CLOCK_SKEW_MS) : bisect_left(times, stay.to_ms + CLOCK_SKEW_MS)]
        )
        prompt, output = _claim(stay, self._context_tokens_max)
        began = bisect_right(times, stay.from_ms) - 1
        self._prompts[began] += prompt
        self._outputs[began] += output

    def comparison(self) -> Comparison:
        idle = self._idle()
        prompts, outputs = (self._claims(idle, claims) for claims in (self._prompts, self._outputs))
        mismatch = sum(
            prompts[window].missed_by(after.prompt_tokens - before.prompt_tokens)
            + outputs[window].missed_by(after.output_tokens - before.output_tokens)
            for window, (before, after) in enumerate(pairwise(idle))
        )
        return Comparison(
            self._first.replica_id,
            self._first.epoch,
            self._first.model,
            unwitnessed=not self._readings,
            witnessed_tokens=idle[-1].tokens - idle[0].tokens if idle else 0,
            ledger_tokens=sum(claim.low for claim in (*prompts.values(), *outputs.values())),
            mismatch_tokens=mismatch,
            runaway_tokens=_runaway(self._readings),
        )

    def _idle(self) -> list[_Reading]:
        """Those of moments when nothing ran: neither in the engine, nor by the gateways' clocks."""
        return [reading for reading in self._readings if not reading.in_flight and reading.at_ms not in self._busy]

    def _claims(self, idle: list[_Reading], began: dict[int, _Range]) -> dict[int, _Range]:
        """What the attempts between idle moment n and the next used, by n. No idle moment lies within an attempt, so each
        ends where it began.
        """
        idle_ms = [reading.at_ms for reading in idle]
        claims: dict[int, _Range] = defaultdict(lambda: NOTHING)
        for place, claim in began.items():
            window = bisect_right(idle_ms, self._times[place]) - 1 if place >= 0 else -1
            if 0 <= window < len(idle) - 1:
                claims[window] += claim
        return claims


def _readings(life: list[Sample]) -> Iterator[_Reading]:
    for sample in life:
        if sample.in_flight is not None and sample.prompt_tokens is not None and sample.output_tokens is not None:
            yield _Reading(
                sample.at_ms, sample.slots_held, sample.in_flight, sample.prompt_tokens, sample.output_tokens
            )


def _claim(stay: Stay, context_tokens_max: int) -> tuple[_Range, _Range]:
    """Prompt and output tokens of an attempt."""
    prompt, output = stay.prompt_tokens, stay.output_tokens
    if stay.finish is not None:
        return _Range(prompt, prompt), _Range(output, output)
    if output:
        return _Range(prompt, prompt), _Range(output, output + UNSEEN_OUTPUT_TOKENS)
    return _Range(0, context_tokens_max), _Range(0, context_tokens_max)


def _runaway(readings: list[_Reading]) -> int:
    """Growth between two samples of which the later says that no slot was held since the earlier."""
    return sum(
        after.tokens - before.tokens
        for before, after in pairwise(readings)
        if not after.slots_held and after.at_ms - before.at_ms <= GAP_MS
    )


def _ratio(mismatch: int, witnessed: int, ledger: int) -> float:
    return mismatch / max(witnessed, ledger, mismatch) if mismatch else 0.0
