"""A stay: the time that one attempt held a slot of a replica, what it did there, and whether it was paid for."""

from dataclasses import dataclass

AttemptId = tuple[str, int]  # request id, attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """Times are milliseconds UTC of the gateway's clock, tokens are what the gateway saw of the engine's usage.

    `finish` is None if the answer was cut off; `charged_nano` is None if this attempt was not charged.
    """

    request_id: str
    attempt: int
    replica_id: str
    model: str
    from_ms: int
    to_ms: int
    finish: str | None
    prompt_tokens: int
    output_tokens: int
    charged_nano: int | None

    @property
    def id(self) -> AttemptId:
        return self.request_id, self.attempt
