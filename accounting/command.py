"""What can be asked of a ledger, and what it answers. Values only: they travel between gateway and writer as they are.

Every command is safe to send again: a command that has taken effect answers so, and changes nothing.
"""

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum

from accounting.budget import Period
from accounting.key import KeyRecord
from accounting.limits import NO_LIMITS, LimitState, RateLimits
from accounting.price import Price


class Result(StrEnum):
    """The named outcome of a command."""

    CREATED = "created"
    CHANGED = "changed"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_CONTENT = "exists_with_different_content"
    TAKEN_OVER = "taken_over"
    NO_ROOM = "no_room"
    RATE_LIMITED = "rate_limited"
    REPLAYED = "replayed"
    IN_PROGRESS = "in_progress"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    NO_SUCH_ACCOUNT = "no_such_account"
    NO_SUCH_KEY = "no_such_key"
    NO_SUCH_PRICE = "no_such_price"
    NO_SUCH_BUDGET = "no_such_budget"
    POSTED = "posted"
    VOIDED = "voided"
    ALREADY_POSTED = "already_posted"
    ALREADY_VOID = "already_void"
    NO_SUCH_HOLD = "no_such_hold"
    NOT_THE_CURRENT_ATTEMPT = "not_the_current_attempt"
    ABOVE_THE_HOLD = "above_the_hold"
    INVALID = "invalid"  # no command at all, or one that no store can hold
    UNAVAILABLE = "unavailable"  # the client's own word: the store did not take it, and it is not sent any more


class Outcome(StrEnum):
    """How a request ended. The first two are charged, the others are free."""

    COMPLETE = "complete"
    CLIENT_LEFT = "client_left"
    CLIENT_LEFT_EARLY = "client_left_early"  # before it was sent a byte
    REFUSED = "refused"  # the engine found the request to be at fault
    ENGINE_FAILED = "engine_failed"
    NO_REPLICA = "no_replica"
    TIMED_OUT = "timed_out"
    NOT_ADMITTED = "not_admitted"  # no credit, budget or rate left, or a misused idempotency key
    REPLAYED = "replayed"  # answered from an earlier request's answer
    LEDGER_FAILED = "ledger_failed"
    EXPIRED = "expired"  # nobody settled it: its gateway died


@dataclass(frozen=True, slots=True)
class Reply:
    """A command's result, and what the asker needs besides."""

    result: Result
    _: KW_ONLY
    # The hold that this is about, where a retry took one over or is answered from one.
    request_id: str | None = None
    attempt: int = 1
    # NO_ROOM: the account without room. RATE_LIMITED: the name of the limit. INVALID: the field that no store could keep, if
    # it is one.
    blocked_by: str | None = None
    retry_after_ms: int | None = None
    response: str | None = None  # REPLAYED: the stored answer, JSON
    limits: tuple[LimitState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a request on one replica. Tokens are counts; `ttft_ms` is None if no chunk came; the slot's times are
    milliseconds UTC of the gateway's clock, None if there was no replica.
    """

    replica_id: str | None
    finish: str | None
    images: int
    text_tokens: int
    vision_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_ms: int | None
    latency_ms: int
    slot_from_ms: int | None = None
    slot_to_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Reserve `amount_nano` in the organisation's credit and in every budget that applies to the caller, and take the
    request's share of the key's rate limits: all or nothing.

    Answers CREATED; EXISTS or EXISTS_WITH_DIFFERENT_CONTENT for a known `request_id`; NO_ROOM, RATE_LIMITED, NO_SUCH_ACCOUNT
    or NO_SUCH_PRICE. With an `idempotency_key`: REPLAYED (only a whole answer is), IN_PROGRESS or IDEMPOTENCY_KEY_REUSED. With
    `is_retry`, TAKEN_OVER if the same body of the same key has an open hold of the last ten minutes that has sent no byte: the
    reply names it, and the retry counts as a request and its images for the rate limits.
    """

    request_id: str
    gateway_id: str
    key_id: str
    org_id: str
    project_id: str
    model: str
    price_version: int
    tier: str
    image_units: tuple[int, ...]
    output_units: int
    tokens_max: int  # vision, text and output: the most that rate limits count
    amount_nano: int
    body_sha: str
    expires_in_ms: int
    root_key_id: str = ""  # empty: `key_id`
    user_id: str | None = None
    metadata: str | None = None
    limits: RateLimits = NO_LIMITS
    idempotency_key: str | None = None
    is_retry: bool = False

    @property
    def root(self) -> str:
        return self.root_key_id or self.key_id


@dataclass(frozen=True, slots=True)
class FirstByte:
    """The caller was sent a byte: no retry may take this hold over any more. Answers CHANGED, or as `Void` does."""

    request_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """End a hold with a charge of at most its amount; `response` is kept for its idempotency key. Answers POSTED,
    ALREADY_POSTED, ALREADY_VOID, NO_SUCH_HOLD, NOT_THE_CURRENT_ATTEMPT or ABOVE_THE_HOLD.
    """

    request_id: str
    attempt: int
    charged_nano: int
    outcome: Outcome
    record: Attempt
    response: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """End a hold without a charge. Answers VOIDED, ALREADY_VOID, ALREADY_POSTED, NO_SUCH_HOLD or
    NOT_THE_CURRENT_ATTEMPT.
    """

    request_id: str
    attempt: int
    outcome: Outcome
    record: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Give `amount_nano` of credit, once per `ref`. Answers CREATED, EXISTS or EXISTS_WITH_DIFFERENT_CONTENT."""

    ref: str
    account: str
    amount_nano: int
    reason: str = ""
    by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Give back `amount_nano` of a posted request to every account that paid it, once per `ref`; all refunds of a request
    together are at most its charge. Answers CREATED, EXISTS, EXISTS_WITH_DIFFERENT_CONTENT, NO_SUCH_HOLD or ABOVE_THE_HOLD.
    """

    ref: str
    request_id: str
    amount_nano: int
    reason: str
    by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBudget:
    """Make or change a budget; takes effect at once. A limit below what is posted and reserved is reached as holds end.
    Answers CREATED, CHANGED or NO_SUCH_KEY; INVALID for a project that does not say of which organisation.
    """

    scope: str
    period: Period
    limit_nano: int
    alert_nano: int | None = None
    by: str = "operator"


@dataclass(frozen=True, slots=True)
class DropBudget:
    """Remove a budget: its scope is not bounded by it any more. Answers CHANGED or NO_SUCH_BUDGET."""

    scope: str
    period: Period
    by: str = "operator"


@dataclass(frozen=True, slots=True)
class AddKey:
    """Store a key's record, and grant its organisation `credit_nano` under the ref `key:<id>`. Answers CREATED or EXISTS."""

    record: KeyRecord
    _: KW_ONLY
    credit_nano: int = 0
    by: str = "operator"


@dataclass(frozen=True, slots=True)
class ChangeKey:
    """Replace name, scopes, models, limits and expiry of a key, or revoke it, for good. Answers CHANGED or NO_SUCH_KEY."""

    record: KeyRecord
    by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """Store `successor`, and let the old key expire `grace_ms` from now, or earlier if it does anyway. Answers CREATED,
    EXISTS, or NO_SUCH_KEY also for one that was rotated before, is revoked or has expired.
    """

    key_id: str
    successor: KeyRecord
    grace_ms: int
    by: str = "operator"


@dataclass(frozen=True, slots=True)
class AddPrice:
    """Store a price version. Answers CREATED, EXISTS or EXISTS_WITH_DIFFERENT_CONTENT."""

    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The second witness: what an engine replica saw of itself at one moment. `epoch` is one life of its engine server;
    tokens are that server's own cumulative counters, None if it has none. Answers CREATED or EXISTS.
    """

    replica_id: str
    epoch: str
    model: str
    at_ms: int
    state: str  # loading | ready | ended
    rent_nano_per_hour: int
    slots_held: int = 0  # the most at once since the sample before
    in_flight: int | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


Command = (
    Hold
    | FirstByte
    | Post
    | Void
    | Grant
    | Refund
    | SetBudget
    | DropBudget
    | AddKey
    | ChangeKey
    | RotateKey
    | AddPrice
    | Sample
)
