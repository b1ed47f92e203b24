"""One request's money, from the hold to its end. Every request that gets a `Bill` ends as exactly one post or void.

The ledger client owns what is submitted until it is durable, so ending a bill is a plain call that cannot be lost with
the request's own task.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from accounting.command import Attempt, FirstByte, Hold, Outcome, Post, Refund, Reply, Result, Void
from accounting.failpoint import failpoint
from accounting.key import KeyRecord
from accounting.limits import LimitState
from accounting.price import Price, Quote, Work, quote
from deployments.gateway.attempts import Attempts
from deployments.gateway.errors import (
    AnswerNotKept,
    BadRequest,
    BudgetSpent,
    ChargeUnconfirmed,
    GatewayError,
    IdempotencyKeyReused,
    InProgress,
    LedgerUnavailable,
    OutOfCredit,
    PriceUnavailable,
    RateLimited,
)
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

HOLD_ACK_S = 2.0
# How long an answer waits for its charge. With the longest deadline it is less than its hold lives.
POST_ACK_S = 10.0
# An open hold belongs to nobody this long after its request's deadline.
EXPIRES_AFTER_DEADLINE_S = 30.0
HELD = frozenset({Result.CREATED, Result.EXISTS, Result.TAKEN_OVER})
# A charge that would be refused however often it was sent.
UNBOOKABLE = frozenset({Result.INVALID, Result.ABOVE_THE_HOLD})
# The refund of an answer that did not leave has this and the request's id for its `ref`.
WITHHELD = "withheld"
PAID = frozenset({Result.POSTED, Result.ALREADY_POSTED})
# Whose budget an account `bud:<kind>:...` is, in the words of OpenAI's error codes.
BUDGET_OF = {"key": "key", "project": "project", "org": "organization"}

# What of a hold is the caller's own text, and what the caller calls it.
CALLERS_TEXTS = {"user_id": "user", "metadata": "metadata", "idempotency_key": "Idempotency-Key"}

Tier = Literal["default", "batch"]

REFUSALS: dict[Result, Callable[[], GatewayError]] = {
    Result.UNAVAILABLE: LedgerUnavailable,
    Result.REPLAYED: AnswerNotKept,
    Result.IDEMPOTENCY_KEY_REUSED: IdempotencyKeyReused,
    Result.IN_PROGRESS: InProgress,
    Result.NO_SUCH_PRICE: PriceUnavailable,
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What the engine says it did. `prompt_tokens` includes vision tokens."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    vision_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What the caller pays, and for what."""

    amount_nano: int
    quote: Quote
    usage: Usage


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the key, and what the request says of its end user and of itself. `is_retry`: the client's SDK tries
    again by itself. The tier `batch` is half price, and waits for the others.
    """

    key: KeyRecord
    user: str | None = None
    metadata: dict[str, str] | None = None
    idempotency_key: str | None = None
    is_retry: bool = False
    tier: Tier = "default"


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer that an earlier request with the same idempotency key got. `answer` is its JSON."""

    request_id: str
    answer: str


class Bill:
    """Made by `Books.open_bill`, which sends the hold. Measures are filled in as the request runs."""

    def __init__(self, books: "Books", hold: Hold, price: Price, work: Work) -> None:
        self.request_id = hold.request_id
        self.price = price
        self.hold_nano = hold.amount_nano
        self.work = work
        self.keeps_answer = hold.idempotency_key is not None
        self.limits: tuple[LimitState, ...] = ()
        self.usage = Usage(0, 0)
        self.finish: str | None = None
        self.replica_id: str | None = None
        self.ttft_s: float | None = None
        self.hold_ack_s: float | None = None
        self.tier = hold.tier
        self.key_id = hold.key_id
        self.outcome: Outcome | None = None
        self.is_cold_start = False
        self._books = books
        self.attempt_number = 1
        self._slot_from_ms: int | None = None
        self._first_byte: asyncio.Future[Reply] | None = None
        self._answered_s: float | None = None
        self._read_at_s = books.clock_s()
        self._hold = books.ledger.submit(hold)
        failpoint("hold.queued")

    async def durable(self) -> Stored | None:
        """Wait until the hold is on disk: nothing runs or leaves before. Returns the answer, if there is one already.

        Raises `OutOfCredit`, `BudgetSpent`, `RateLimited`, `IdempotencyKeyReused`, `InProgress`, `PriceUnavailable` or
        `LedgerUnavailable`.
        """
        try:
            async with asyncio.timeout(HOLD_ACK_S):
                reply = await asyncio.shield(self._hold)
        except TimeoutError:
            self.void(Outcome.LEDGER_FAILED)
            raise LedgerUnavailable from None
        self.hold_ack_s = self.age_s()
        self.limits = reply.limits
        if reply.result in HELD:
            self._adopt(reply)
            failpoint("hold.acked")
            return None
        # There is no hold of this request to end.
        if reply.result is Result.REPLAYED and reply.request_id and reply.response:
            self.outcome = Outcome.REPLAYED
            return Stored(reply.request_id, reply.response)
        error = refusal(reply)
        self.outcome = Outcome.LEDGER_FAILED if isinstance(error, LedgerUnavailable) else Outcome.NOT_ADMITTED
        raise error

    def slot_taken(self, replica_id: str) -> None:
        """The request occupies a slot of this replica from now on."""
        self.replica_id = replica_id
        self._slot_from_ms = self._books.now_ms()

    def waited_for_start(self) -> None:
        """The model was started for this request, among others."""
        self.is_cold_start = True

    def first_chunk(self) -> None:
        """The engine has sent its first chunk."""
        if self.ttft_s is None:
            self.ttft_s = self.age_s()

    def first_byte(self) -> None:
        """The caller is about to be sent its first byte: no retry takes this request over any more."""
        self._first_byte = self._books.ledger.submit(FirstByte(self.request_id, self.attempt_number))

    @property
    def taken_over(self) -> bool:
        """Whether a retry had taken the request over before its first byte; known a moment after that."""
        marked = self._first_byte
        return marked is not None and marked.done() and marked.result().result is Result.NOT_THE_CURRENT_ATTEMPT

    @property
    def is_stream(self) -> bool:
        """Whether the caller has been sent a stream's first byte."""
        return self._first_byte is not None

    def age_s(self) -> float:
        """How long ago the hold was sent."""
        return self._books.clock_s() - self._read_at_s

    def tpot_s(self) -> float | None:
        """Time for each token after the first, of an answer that has ended with at least two."""
        if self._answered_s is None or self.ttft_s is None or self.usage.output_tokens < 2:
            return None
        return (self._answered_s - self.ttft_s) / (self.usage.output_tokens - 1)

    def charge(self) -> Charge:
        """What the usage so far costs: at the admission's price, and never above the hold."""
        used = Work(
            images=self.work.images,
            text_tokens=max(0, self.usage.prompt_tokens - self.work.vision_tokens),
            output_tokens=self.usage.output_tokens,
        )
        priced = quote(self.price, used)
        return Charge(min(priced.amount_nano, self.hold_nano), priced, self.usage)

    async def post(self, answer: bytes) -> None:
        """Charge the usage, and wait until that is durable: if this returns, the answer may leave, and else it must not.

        Raises `InProgress` if a retry has taken the request over meanwhile: that one is answered and charged. Raises
        `LedgerUnavailable` if it cannot be charged any more. Raises `ChargeUnconfirmed` if that is not known in time; when
        the charge is known to be there, it is given back, unless an idempotency key brings the answer.
        """
        failpoint("engine.last_chunk")
        acknowledged = self._end(Outcome.COMPLETE, answer)
        await asyncio.wait([acknowledged], timeout=self._books.post_ack_s)
        failpoint("post.acked")
        if not acknowledged.done():
            self.outcome = Outcome.LEDGER_FAILED
            acknowledged.add_done_callback(self._give_back)
            raise ChargeUnconfirmed
        if (result := acknowledged.result().result) in PAID:
            return
        if result is Result.NOT_THE_CURRENT_ATTEMPT:
            self.outcome = Outcome.CLIENT_LEFT_EARLY
            raise InProgress
        self.outcome = Outcome.LEDGER_FAILED
        raise LedgerUnavailable

    def client_left(self, *, was_sent: bool) -> None:
        """The client broke off: image units in full and the output so far if it `was_sent` any of it, else nothing.

        What it was sent is no answer to an idempotency key.
        """
        if self.outcome is not None:
            return
        if was_sent and self.usage.output_tokens:
            self._end(Outcome.CLIENT_LEFT)
        else:
            self.void(Outcome.CLIENT_LEFT_EARLY)

    def void(self, outcome: Outcome) -> None:
        """End the hold without a charge. Does nothing if the bill has ended."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        # Which hold is ours, or whether there is one, is known when it is acknowledged.
        if self._hold.done():
            self._void(self._hold)
        else:
            self._hold.add_done_callback(self._void)

    def _void(self, hold: asyncio.Future[Reply]) -> None:
        if hold.cancelled() or hold.result().result not in HELD:
            return
        assert self.outcome
        self._adopt(hold.result())
        self._books.ledger.submit(
            Void(request_id=self.request_id, attempt=self.attempt_number, outcome=self.outcome, record=self._attempt())
        )

    def _end(self, outcome: Outcome, answer: bytes = b"") -> asyncio.Future[Reply]:
        """Charge what was used."""
        self._answered_s = self.age_s()
        kept = answer.decode() if answer and self.keeps_answer else None
        charged_nano = self.charge().amount_nano
        acknowledged = self._books.ledger.submit(
            Post(
                request_id=self.request_id,
                attempt=self.attempt_number,
                charged_nano=charged_nano,
                outcome=outcome,
                record=self._attempt(),
                response=kept,
            )
        )
        self.outcome = outcome  # last: a bill that could not be ended is still open
        acknowledged.add_done_callback(self._check_post)
        failpoint("post.queued")
        return acknowledged

    def _check_post(self, acknowledged: asyncio.Future[Reply]) -> None:
        """A refused charge is an operator's business: a part of an answer may have gone free."""
        if acknowledged.cancelled():
            return
        result = acknowledged.result().result
        if result not in PAID and result is not Result.NOT_THE_CURRENT_ATTEMPT:
            logger.error("unproven: request %s ended as %s: %s", self.request_id, self.outcome, result)
        if result in UNBOOKABLE:
            # What it used cannot be recorded, so that is left out: the hold ends now and not when its time is over.
            unknown = Attempt(
                replica_id=self.replica_id,
                finish=None,
                images=len(self.work.images),
                text_tokens=0,
                vision_tokens=self.work.vision_tokens,
                cached_tokens=0,
                output_tokens=0,
                ttft_ms=None,
                latency_ms=0,
            )
            self._books.ledger.submit(
                Void(
                    request_id=self.request_id,
                    attempt=self.attempt_number,
                    outcome=Outcome.LEDGER_FAILED,
                    record=unknown,
                )
            )

    def _give_back(self, acknowledged: asyncio.Future[Reply]) -> None:
        """The charge of an answer that was withheld has come about after all: our faults are free."""
        if acknowledged.cancelled() or self.keeps_answer or acknowledged.result().result not in PAID:
            return
        if amount_nano := self.charge().amount_nano:
            ref = f"{WITHHELD}:{self.request_id}"
            self._books.ledger.submit(
                Refund(
                    ref=ref,
                    request_id=self.request_id,
                    amount_nano=amount_nano,
                    reason="the answer was withheld",
                    by="gateway",
                )
            )

    def _adopt(self, reply: Reply) -> None:
        """The hold may be that of the request's first try, which ends with that."""
        self.request_id = reply.request_id or self.request_id
        self.attempt_number = reply.attempt
        self._books.attempts.end_before(self.request_id, self.attempt_number)

    def _attempt(self) -> Attempt:
        return Attempt(
            replica_id=self.replica_id,
            finish=self.finish,
            images=len(self.work.images),
            text_tokens=max(0, self.usage.prompt_tokens - self.work.vision_tokens),
            vision_tokens=self.work.vision_tokens,
            cached_tokens=self.usage.cached_tokens,
            output_tokens=self.usage.output_tokens,
            ttft_ms=None if self.ttft_s is None else round(1000 * self.ttft_s),
            latency_ms=round(1000 * self.age_s()),
            slot_from_ms=self._slot_from_ms,
            slot_to_ms=None if self._slot_from_ms is None else self._books.now_ms(),
        )


@dataclass(frozen=True, slots=True)
class Books:
    """Opens bills for one gateway. `clock_s` is monotonic, `now_ms` milliseconds UTC."""

    ledger: LedgerClient
    gateway_id: str
    clock_s: Callable[[], float]
    now_ms: Callable[[], int]
    post_ack_s: float = POST_ACK_S
    attempts: Attempts = field(default_factory=Attempts)

    def open_bill(self, caller: Caller, price: Price, work: Work, body_sha: str, deadline_s: float) -> Bill:
        """Price the request and send its hold on the way. Raises `LedgerUnavailable` while there is no connection."""
        if not self.ledger.connected:
            raise LedgerUnavailable
        if caller.tier == "batch":
            price = replace(price, unit_nano=price.batch_unit_nano)
        quoted = quote(price, work)
        hold = Hold(
            request_id=str(uuid.uuid4()),
            gateway_id=self.gateway_id,
            key_id=caller.key.id,
            org_id=caller.key.org_id,
            project_id=caller.key.project_id,
            model=price.model,
            price_version=price.version,
            tier=caller.tier,
            image_units=quoted.image_units,
            output_units=quoted.output_units,
            tokens_max=work.vision_tokens + work.text_tokens + work.output_tokens,
            amount_nano=quoted.amount_nano,
            body_sha=body_sha,
            expires_in_ms=round(1000 * (deadline_s + EXPIRES_AFTER_DEADLINE_S)),
            root_key_id=caller.key.root,
            user_id=caller.user,
            metadata=None if caller.metadata is None else json.dumps(caller.metadata),
            limits=caller.key.limits,
            idempotency_key=caller.idempotency_key,
            is_retry=caller.is_retry,
        )
        return Bill(self, hold, price, work)


def refusal(reply: Reply) -> GatewayError:
    """What the caller is told of a hold that the ledger did not take. Pure."""
    if reply.result in (Result.NO_ROOM, Result.NO_SUCH_ACCOUNT):
        kind, _, owner = (reply.blocked_by or "").partition(":")
        return BudgetSpent(BUDGET_OF[owner.partition(":")[0]]) if kind == "bud" else OutOfCredit()
    if reply.result is Result.INVALID and reply.blocked_by in CALLERS_TEXTS:
        name = CALLERS_TEXTS[reply.blocked_by]
        return BadRequest(
            f"'{name}' is too long, or has characters that cannot be stored. Shorten or remove it.", param=name
        )
    if reply.result is Result.RATE_LIMITED:
        return RateLimited(reply.blocked_by or "", reply.retry_after_ms or 1_000)
    if reply.result in REFUSALS:
        return REFUSALS[reply.result]()
    logger.error("a hold was answered %s", reply.result)
    return LedgerUnavailable()
