"""What the answers are made of: lists in OpenAI's shape, amounts as decimal strings in dollars, times in seconds."""

from collections.abc import Iterable
from typing import Any

from accounting.money import usd


def listed(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A list in OpenAI's shape."""
    return {"object": "list", "data": list(objects)}


def dollars(amount_nano: int | None) -> str | None:
    """None stays None."""
    return None if amount_nano is None else usd(amount_nano)


def seconds(at_ms: int | None) -> int | None:
    """None stays None."""
    return None if at_ms is None else at_ms // 1000
