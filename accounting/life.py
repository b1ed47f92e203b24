"""A life: the time that one engine server occupied its accelerators, and what they cost an hour, read off its samples."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from accounting.command import Sample

SAMPLE_EVERY_MS = 10_000
# To know who lived in a period, read samples from this long before it until this long after.
SAMPLES_MARGIN_MS = 60_000


@dataclass(frozen=True, slots=True)
class Life:
    """Times are milliseconds UTC: it loads from `from_ms`, serves from `ready_ms` and is gone at `to_ms`."""

    replica_id: str
    model: str
    rent_nano_per_hour: int
    from_ms: int
    ready_ms: int
    to_ms: int


def lives_of(samples: Iterable[Sample]) -> list[Life]:
    """The lives on every replica, in order of time. A server that is started anew ends the life before it; a replica that
    was killed ends one interval after its last sample.
    """
    by_replica: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.at_ms):
        by_replica[sample.replica_id].append(sample)
    return [life for seen in by_replica.values() for life in _lives(seen)]


def _lives(seen: list[Sample]) -> list[Life]:
    """Of one replica, whose samples are in order of time: one life an epoch, each until the next."""
    by_epoch: dict[str, list[Sample]] = defaultdict(list)
    for sample in seen:
        by_epoch[sample.epoch].append(sample)
    starts = [epoch[0].at_ms for epoch in by_epoch.values()]
    ends = [to_ms for _, to_ms in pairwise([*starts, _end_ms(seen[-1])])]
    return [_life(epoch, to_ms) for epoch, to_ms in zip(by_epoch.values(), ends, strict=True)]


def _life(epoch: list[Sample], to_ms: int) -> Life:
    first = epoch[0]
    ready_ms = next((sample.at_ms for sample in epoch if sample.state == "ready"), to_ms)
    return Life(first.replica_id, first.model, first.rent_nano_per_hour, first.at_ms, min(ready_ms, to_ms), to_ms)


def _end_ms(last: Sample) -> int:
    return last.at_ms if last.state == "ended" else last.at_ms + SAMPLE_EVERY_MS
