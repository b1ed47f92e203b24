"""What can be asked of a ledger, and what it answers. Values only: they travel between gateway and writer as they are.

Every command is safe to send again: a command that has taken effect answers so, and changes nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from accounting.key import KeyRecord
from accounting.price import Price


class Result(StrEnum):
    """The named outcome of a command."""

    CREATED = "created"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_CONTENT = "exists_with_different_content"
    NO_ROOM = "no_room"
    NO_SUCH_ACCOUNT = "no_such_account"
    NO_SUCH_PRICE = "no_such_price"
    POSTED = "posted"
    VOIDED = "voided"
    ALREADY_POSTED = "already_posted"
    ALREADY_VOID = "already_void"
    NO_SUCH_HOLD = "no_such_hold"
    NOT_THE_CURRENT_ATTEMPT = "not_the_current_attempt"
    ABOVE_THE_HOLD = "above_the_hold"
    INVALID = "invalid"  # no command at all, or one that no store can hold


class Outcome(StrEnum):
    """How a request ended. The first two are charged, the others are free."""

    COMPLETE = "complete"
    CLIENT_LEFT = "client_left"
    CLIENT_LEFT_EARLY = "client_left_early"  # before it was sent a byte
    REFUSED = "refused"  # the engine found the request to be at fault
    ENGINE_FAILED = "engine_failed"
    NO_REPLICA = "no_replica"
    TIMED_OUT = "timed_out"
    NO_CREDIT = "no_credit"
    LEDGER_FAILED = "ledger_failed"
    EXPIRED = "expired"  # nobody settled it: its gateway died


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a request on one replica. Tokens are counts; `ttft_ms` is None if no chunk came."""

    replica_id: str | None
    finish: str | None
    images: int
    text_tokens: int
    vision_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_ms: int | None
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Reserve `amount_nano` in every account. Answers CREATED, EXISTS, EXISTS_WITH_DIFFERENT_CONTENT, NO_ROOM or
    NO_SUCH_ACCOUNT, NO_SUCH_PRICE.
    """

    request_id: str
    gateway_id: str
    key_id: str
    model: str
    price_version: int
    tier: str
    image_units: tuple[int, ...]
    output_units: int
    accounts: tuple[str, ...]
    amount_nano: int
    body_sha: str
    expires_in_ms: int
    user_id: str | None = None
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """End a hold with a charge of at most its amount. Answers POSTED, ALREADY_POSTED, ALREADY_VOID, NO_SUCH_HOLD,
    NOT_THE_CURRENT_ATTEMPT or ABOVE_THE_HOLD.
    """

    request_id: str
    attempt: int
    charged_nano: int
    outcome: Outcome
    record: Attempt


@dataclass(frozen=True, slots=True)
class Void:
    """End a hold without a charge. Answers VOIDED, ALREADY_VOID, ALREADY_POSTED, NO_SUCH_HOLD or
    NOT_THE_CURRENT_ATTEMPT.
    """

    request_id: str
    attempt: int
    outcome: Outcome
    record: Attempt


@dataclass(frozen=True, slots=True)
class Grant:
    """Give `amount_nano` of credit, once per `ref`. Answers CREATED or EXISTS."""

    ref: str
    account: str
    amount_nano: int


@dataclass(frozen=True, slots=True)
class AddKey:
    """Store a key's record. Answers CREATED or EXISTS."""

    record: KeyRecord


@dataclass(frozen=True, slots=True)
class AddPrice:
    """Store a price version. Answers CREATED, EXISTS or EXISTS_WITH_DIFFERENT_CONTENT."""

    price: Price


Command = Hold | Post | Void | Grant | AddKey | AddPrice
