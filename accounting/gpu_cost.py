"""What the accelerators cost and who used them, to the nano-dollar. Pure; integers only.

    rent(a, b) = floor(R * b / 3,600,000) - floor(R * a / 3,600,000)      R in nano-dollars an hour; a, b in ms UTC

so the rents of adjoining spans add up exactly. The rent of a replica's time is `cold` while its model loads and `idle`
while no attempt is on it. The rest is shared in each window of 10 s among the attempts on it, by processor sharing: with n
of them, each has 1/n of the replica. What a charged attempt used is `share`, what any other used is `waste`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import lcm
from typing import NamedTuple

from accounting.life import Life
from accounting.stay import AttemptId, Stay

HOUR_MS = 3_600_000
WINDOW_MS = 10_000


class Replica(NamedTuple):
    model: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Nano-dollars. Always `rent = share + idle + cold + waste`."""

    rent_nano: int = 0
    share_nano: int = 0
    idle_nano: int = 0
    cold_nano: int = 0
    waste_nano: int = 0
    revenue_nano: int = 0

    @property
    def margin_nano(self) -> int:
        return self.revenue_nano - self.rent_nano

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            rent_nano=self.rent_nano + other.rent_nano,
            share_nano=self.share_nano + other.share_nano,
            idle_nano=self.idle_nano + other.idle_nano,
            cold_nano=self.cold_nano + other.cold_nano,
            waste_nano=self.waste_nano + other.waste_nano,
            revenue_nano=self.revenue_nano + other.revenue_nano,
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one period. `attempts` has the nano-dollars of accelerator time that each used."""

    replicas: dict[Replica, Cost]
    attempts: Counter[AttemptId]

    def by_model(self) -> dict[str, Cost]:
        """Sums over replicas."""
        models: dict[str, Cost] = defaultdict(Cost)
        for replica, cost in self.replicas.items():
            models[replica.model] += cost
        return dict(models)


def gpu_costs(lives: Iterable[Life], stays: Iterable[Stay], from_ms: int, to_ms: int) -> Costs:
    """The costs of [from_ms, to_ms), from every life and stay that overlaps it. An attempt's revenue belongs to the period
    in which its stay ended. Periods that meet at whole windows add up in every part.
    """
    on_replica: dict[str, list[Stay]] = defaultdict(list)
    earned: Counter[Replica] = Counter()
    for stay in stays:
        on_replica[stay.replica_id].append(stay)
        if from_ms < stay.to_ms <= to_ms:  # as a stay overlaps the time before its end
            earned[Replica(stay.model, stay.replica_id)] += stay.charged_nano or 0
    replicas: dict[Replica, Cost] = defaultdict(Cost)
    attempts: Counter[AttemptId] = Counter()
    for life in lives:
        replicas[Replica(life.model, life.replica_id)] += _cost(
            _within(life, from_ms, to_ms), on_replica[life.replica_id], attempts
        )
    for replica, revenue_nano in earned.items():
        replicas[replica] += Cost(revenue_nano=revenue_nano)
    return Costs(dict(replicas), attempts)


def rent(nano_per_hour: int, from_ms: int, to_ms: int) -> int:
    """Nano-dollars; the only rounding of time into money."""
    return nano_per_hour * to_ms // HOUR_MS - nano_per_hour * from_ms // HOUR_MS


def apportion(amount: int, weights: dict[AttemptId, int]) -> dict[AttemptId, int]:
    """Split `amount` in proportion to `weights`, whose sum is above zero. The largest remainders have the last units, of
    equal ones that of the smaller id.
    """
    total = sum(weights.values())
    parts = {one: amount * weight // total for one, weight in weights.items()}
    # Mutation P9: without these units, test_the_rent_is_conserved_to_the_nano_dollar is red.
    left = amount - sum(parts.values())
    for one in sorted(weights, key=lambda one: (-(amount * weights[one] % total), one))[:left]:
        parts[one] += 1
    return parts


class _Visit(NamedTuple):
    """The part of a stay within one window."""

    stay: Stay
    from_ms: int
    to_ms: int


def _within(life: Life, from_ms: int, to_ms: int) -> Life:
    start_ms, ready_ms, end_ms = (
        max(from_ms, min(at_ms, to_ms)) for at_ms in (life.from_ms, life.ready_ms, life.to_ms)
    )
    return Life(life.replica_id, life.model, life.rent_nano_per_hour, start_ms, ready_ms, end_ms)


def _cost(life: Life, stays: list[Stay], attempts: Counter[AttemptId]) -> Cost:
    """What a life cost, without revenue. Adds what each attempt used to `attempts`."""
    rate = life.rent_nano_per_hour
    share_nano = waste_nano = 0
    idle_nano = rent(rate, life.ready_ms, life.to_ms)
    for visits in _windows(stays, life.ready_ms, life.to_ms):
        spans = list(_spans(visits))
        busy_nano = sum(rent(rate, from_ms, to_ms) for from_ms, to_ms, in_flight in spans if in_flight)
        idle_nano -= busy_nano
        used = apportion(busy_nano, _weights(visits, spans))
        attempts.update(used)
        paid_nano = sum(used[visit.stay.id] for visit in visits if visit.stay.charged_nano is not None)
        share_nano += paid_nano
        waste_nano += sum(used.values()) - paid_nano
    return Cost(
        rent_nano=rent(rate, life.from_ms, life.to_ms),
        share_nano=share_nano,
        idle_nano=idle_nano,
        cold_nano=rent(rate, life.from_ms, life.ready_ms),
        waste_nano=waste_nano,
    )


def _windows(stays: list[Stay], from_ms: int, to_ms: int) -> Iterable[list[_Visit]]:
    """The visits of [from_ms, to_ms), by window. A stay without duration is none."""
    windows: dict[int, list[_Visit]] = defaultdict(list)
    for stay in stays:
        start_ms, end_ms = max(stay.from_ms, from_ms), min(stay.to_ms, to_ms)
        while start_ms < end_ms:
            window = start_ms // WINDOW_MS
            next_ms = min(end_ms, (window + 1) * WINDOW_MS)
            windows[window].append(_Visit(stay, start_ms, next_ms))
            start_ms = next_ms
    return windows.values()


def _spans(visits: list[_Visit]) -> Iterator[tuple[int, int, int]]:
    """(from_ms, to_ms, in_flight): from the first visit to the last, cut wherever one begins or ends."""
    change: Counter[int] = Counter()
    for visit in visits:
        change[visit.from_ms] += 1
        change[visit.to_ms] -= 1
    moments = sorted(change)
    in_flight = accumulate(change[moment] for moment in moments)
    for (from_ms, to_ms), count in zip(pairwise(moments), in_flight, strict=False):
        yield from_ms, to_ms, count


def _weights(visits: list[_Visit], spans: list[tuple[int, int, int]]) -> dict[AttemptId, int]:
    """The integral of dt / in_flight(t) of each visit, in units of 1/scale ms: with this scale they are whole numbers."""
    scale = lcm(*(in_flight for _, _, in_flight in spans if in_flight))
    so_far, until = 0, {spans[0][0]: 0}  # of an attempt that is there all the time
    for from_ms, to_ms, in_flight in spans:
        so_far += (to_ms - from_ms) * scale // in_flight if in_flight else 0
        until[to_ms] = so_far
    return {visit.stay.id: until[visit.to_ms] - until[visit.from_ms] for visit in visits}
