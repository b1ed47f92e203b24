"""One request's money, from the hold to its end. Every request that gets a `Bill` ends as exactly one post or void.

The ledger client owns what is submitted until it is durable, so ending a bill is a plain call that cannot be lost with
the request's own task.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from accounting.command import Attempt, Hold, Outcome, Post, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price, Quote, Work, quote
from deployments.gateway.errors import LedgerUnavailable, OutOfCredit, PriceUnavailable
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

HOLD_ACK_S = 2.0
POST_ACK_S = 10.0
# An open hold belongs to nobody this long after its request's deadline.
EXPIRES_AFTER_DEADLINE_S = 30.0
FIRST_ATTEMPT = 1
AS_MEANT = frozenset({Result.POSTED, Result.ALREADY_POSTED, Result.VOIDED})


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
    """Who asks: the key, and what the request says of its end user and of itself."""

    key: KeyRecord
    user: str | None = None
    metadata: dict[str, str] | None = None


class Bill:
    """Made by `open_bill`. Measures are filled in as the request runs."""

    def __init__(
        self, ledger: LedgerClient, hold: Hold, price: Price, work: Work, clock_s: Callable[[], float]
    ) -> None:
        self.request_id = hold.request_id
        self.price = price
        self.hold_nano = hold.amount_nano
        self.work = work
        self.usage = Usage(0, 0)
        self.finish: str | None = None
        self.replica_id: str | None = None
        self.ttft_s: float | None = None
        self.outcome: Outcome | None = None
        self._ledger = ledger
        self._clock_s = clock_s
        self._read_at_s = clock_s()
        self._hold = ledger.submit(hold)

    async def durable(self) -> None:
        """Wait until the hold is on disk: nothing runs or leaves before. Raises `OutOfCredit`, `LedgerUnavailable`."""
        try:
            async with asyncio.timeout(HOLD_ACK_S):
                result = await asyncio.shield(self._hold)
        except TimeoutError:
            self.void(Outcome.LEDGER_FAILED)
            raise LedgerUnavailable from None
        if result in (Result.CREATED, Result.EXISTS):
            return
        # There is no hold to end.
        if result in (Result.NO_ROOM, Result.NO_SUCH_ACCOUNT):
            self.outcome = Outcome.NO_CREDIT
            raise OutOfCredit
        self.outcome = Outcome.LEDGER_FAILED
        if result is Result.NO_SUCH_PRICE:
            raise PriceUnavailable
        logger.error("hold %s: %s", self.request_id, result)
        raise LedgerUnavailable

    def first_chunk(self) -> None:
        """The engine has sent its first chunk."""
        if self.ttft_s is None:
            self.ttft_s = self._clock_s() - self._read_at_s

    def charge(self) -> Charge:
        """What the usage so far costs: at the admission's price, and never above the hold."""
        used = Work(
            self.work.image_vision_tokens,
            text_tokens=max(0, self.usage.prompt_tokens - self.work.vision_tokens),
            output_tokens=self.usage.output_tokens,
        )
        priced = quote(self.price, used)
        return Charge(min(priced.amount_nano, self.hold_nano), priced, self.usage)

    async def post(self, outcome: Outcome) -> Charge:
        """Charge the usage, and wait until that is durable, at most `POST_ACK_S`: then it is retried in the background."""
        charge = self.charge()
        acknowledged = self._end(Post(self.request_id, FIRST_ATTEMPT, charge.amount_nano, outcome, self._attempt()))
        if acknowledged is not None:
            await asyncio.wait([acknowledged], timeout=POST_ACK_S)
        return charge

    def void(self, outcome: Outcome) -> None:
        """End the hold without a charge. Does nothing if the bill has ended."""
        self._end(Void(self.request_id, FIRST_ATTEMPT, outcome, self._attempt()))

    def client_left(self, saw_output: bool) -> None:
        """The client broke off: image units in full and the output so far if it was sent any of it, else nothing."""
        if not (saw_output and self.usage.output_tokens):
            self.void(Outcome.CLIENT_LEFT_EARLY)
            return
        amount_nano = self.charge().amount_nano
        self._end(Post(self.request_id, FIRST_ATTEMPT, amount_nano, Outcome.CLIENT_LEFT, self._attempt()))

    def _end(self, command: Post | Void) -> asyncio.Future[Result] | None:
        if self.outcome is not None:
            return None
        self.outcome = command.outcome
        acknowledged = self._ledger.submit(command)
        acknowledged.add_done_callback(self._check_end)
        return acknowledged

    def _check_end(self, acknowledged: asyncio.Future[Result]) -> None:
        """An end that the ledger did not take as meant is an operator's business: the answer may have gone free."""
        if not acknowledged.cancelled() and acknowledged.result() not in AS_MEANT:
            logger.error("unproven: request %s ended as %s: %s", self.request_id, self.outcome, acknowledged.result())

    def _attempt(self) -> Attempt:
        return Attempt(
            self.replica_id,
            self.finish,
            images=len(self.work.image_vision_tokens),
            text_tokens=max(0, self.usage.prompt_tokens - self.work.vision_tokens),
            vision_tokens=self.work.vision_tokens,
            cached_tokens=self.usage.cached_tokens,
            output_tokens=self.usage.output_tokens,
            ttft_ms=None if self.ttft_s is None else round(1000 * self.ttft_s),
            latency_ms=round(1000 * (self._clock_s() - self._read_at_s)),
        )


@dataclass(frozen=True, slots=True)
class Books:
    """Opens bills for one gateway. `clock_s` is monotonic."""

    ledger: LedgerClient
    gateway_id: str
    clock_s: Callable[[], float]

    def open_bill(self, caller: Caller, price: Price, work: Work, body_sha: str, deadline_s: float) -> Bill:
        """Price the request and send its hold on the way. Raises `LedgerUnavailable` while there is no connection."""
        if not self.ledger.connected:
            raise LedgerUnavailable
        quoted = quote(price, work)
        hold = Hold(
            str(uuid.uuid4()),
            self.gateway_id,
            caller.key.id,
            price.model,
            price.version,
            tier="default",
            image_units=quoted.image_units,
            output_units=quoted.output_units,
            accounts=(caller.key.credit_account,),
            amount_nano=quoted.amount_nano,
            body_sha=body_sha,
            expires_in_ms=round(1000 * (deadline_s + EXPIRES_AFTER_DEADLINE_S)),
            user_id=caller.user,
            metadata=None if caller.metadata is None else json.dumps(caller.metadata),
        )
        return Bill(self.ledger, hold, price, work, self.clock_s)
