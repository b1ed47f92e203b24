"""What was used, by time and caller: the questions that usage pages ask, answered from rollups alone."""

from dataclasses import dataclass
from enum import StrEnum


class Width(StrEnum):
    """How long a bucket is. Buckets begin at whole minutes, hours and days, UTC."""

    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def ms(self) -> int:
        return {"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}[self.value]


# What results may be grouped and filtered by: columns of `rollup`.
GROUPS = ("org_id", "project_id", "key_id", "user_id", "model", "tier")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Times are milliseconds UTC, whole buckets of `width`. Empty filters let everything pass."""

    width: Width
    from_ms: int
    to_ms: int
    group_by: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    key_ids: tuple[str, ...] = ()
    project_ids: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    org_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What one group used in one bucket of time: charged requests only, at the time of their admission. `group` has a value for every name of the query's `group_by`."""

    start_ms: int
    group: tuple[str, ...]
    requests: int
    images: int
    units: int
    text_tokens: int
    vision_tokens: int
    cached_tokens: int
    output_tokens: int
    revenue_nano: int


def bucket_start(width: Width, at_ms: int) -> int:
    """The start of the bucket that contains `at_ms`."""
    return at_ms - at_ms % width.ms
