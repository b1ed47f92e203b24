"""A whole calibration: the steps of the search, one after the other, against one target."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from calibration.load import TOO_SLOW, Load, Target, Unanswered, patience_s
from calibration.search import Bounds, Point, judge, next_rate
from calibration.workload import Standard, arrivals_s, body
from loadtests.record import Record
from loadtests.slo import Slo

# A step has at least so many requests, however low its rate.
REQUESTS_MIN = 20
WARM_UP_REQUESTS = 9


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each step lasts, and between which rates to search."""

    seconds: float = 30.0
    bounds: Bounds = field(default_factory=Bounds)


async def measure_points(
    target: Target, request: Standard, slo: Slo, effort: Effort, tell: Callable[[Point], None]
) -> list[Point]:
    """Every step of the search; `tell` hears of each as it ends. Raises `NoRate` and `Unanswered`."""
    points: list[Point] = []
    seeds = count()
    async with Load(target) as load:
        warm_up = [body(request, next(seeds)) for _ in range(WARM_UP_REQUESTS)]
        await load.warm_up(warm_up, request.output_tokens)
        while (rate := next_rate(points, effort.bounds)) is not None:
            bodies = [body(request, next(seeds)) for _ in range(requests_of(rate, effort.seconds))]
            dues_s = arrivals_s(len(bodies), rate, seed=len(points))
            records = await load.offer(bodies, dues_s, request.output_tokens, patience_s(slo, request.output_tokens))
            _check(records)
            points.append(judge(records, rate, slo))
            tell(points[-1])
    return points


def requests_of(rate: float, seconds: float) -> int:
    """How many a step sends. Pure."""
    return max(REQUESTS_MIN, round(rate * seconds))


def _check(records: Sequence[Record]) -> None:
    """An engine that is gone is not one that is slow."""
    failures = Counter(record.failure for record in records)
    if None not in failures and TOO_SLOW not in failures:
        raise Unanswered(f"not one answer of {len(records)} was whole; most often: {failures.most_common(1)[0][0]}")
