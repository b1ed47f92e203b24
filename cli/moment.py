"""Times on the command line: UTC, as a date or a date with a time; seconds for the fleet."""

from datetime import UTC, datetime


def unix_s(moment: datetime | None) -> int | None:
    """What was typed has no time zone: it is UTC."""
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp())


def day(at_s: int) -> str:
    """`2026-11-21`"""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d}"


def shown(at_s: int) -> str:
    """`2026-11-21 08:00:00`"""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}"
