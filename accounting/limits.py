"""Rate limits of a key: how much of what within one minute, and how many requests at once."""

from dataclasses import dataclass, fields

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """None: no limit. Periods are whole minutes of the store's clock; `concurrency` counts open holds."""

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    tokens_per_minute: int | None = None  # vision and text tokens in, and output
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and value < 1:
                raise ValueError(f"{limit.name} is {value}; a limit is 1 or more, or none at all")

    def given(self) -> dict[str, int]:
        """The limits that are set, by name."""
        return {limit.name: value for limit in fields(self) if (value := getattr(self, limit.name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """How much of a limit is left right after a hold; `reset_ms` until all of it is back."""

    name: str
    limit: int
    remaining: int
    reset_ms: int


NO_LIMITS = RateLimits()
