"""What the ledger knows of a request: from its hold on, and when it has ended."""

from dataclasses import dataclass

from accounting.command import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """The units that were held for a request: of each image, and of its output."""

    images: tuple[int, ...]
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedAttempt:
    """One attempt at a request, once it has ended. `attempt` counts from 1."""

    attempt: int
    charged: bool
    record: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """All that is known of one request: its hold, in whatever state it is, and the attempts that have ended.

    `state`: open, posted or void; `why` is the outcome of one that has ended. `parts` are the accounts that it is held in.
    """

    request_id: str
    attempt: int
    gateway_id: str
    key_id: str
    org_id: str
    project_id: str
    user_id: str | None
    metadata: str | None
    model: str
    price_version: int
    tier: str
    units: Units
    parts: tuple[str, ...]
    amount_nano: int
    charged_nano: int | None
    state: str
    why: str | None
    created_at_ms: int
    first_byte_at_ms: int | None
    expires_at_ms: int
    closed_at_ms: int | None
    attempts: tuple[EndedAttempt, ...]
