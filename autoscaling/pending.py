"""Replicas that are on their way."""

from collections.abc import Iterable


def overdue(ages_s: Iterable[float], start_p99_s: float) -> int:
    """Starts that are older than nearly all others were: no longer counted on."""
    return sum(age_s > start_p99_s for age_s in ages_s)
