"""The queue in front of one model's engines. A request that finds room passes without waiting for anything."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from catalog.card import Slo
from deployments.gateway.errors import Overloaded
from deployments.gateway.forming.budget import ENGINE_SHARE, Answered, Budget, DrainRate
from deployments.gateway.forming.demand import Demand
from deployments.gateway.forming.queue import Entry, FairQueue

# Below the number of requests that a gateway holds at once, so that it stays able to refuse.
WAITING_MAX = 512
# So many of a flow may wait whatever the engines' pace.
WAITING_MIN = 1
# Batch work is fed only while so much of the budget is in use: interactive requests find room at once.
BATCH_SHARE = 0.5
# A burst may wait as long as this; for as long after a refusal there are no bursts.
BURST_S = 10.0
RETRY_AFTER_MAX_S = 120  # OpenAI's SDK gives up on a longer one


@dataclass(frozen=True, slots=True)
class Load:
    """One moment of a model, as this gateway sees it. `running_tokens` are of prompts whose answer has not begun. The last
    three counts only ever grow.
    """

    waiting_requests: int
    waiting_tokens: int
    waiting_batch_tokens: int
    oldest_wait_s: float
    running_requests: int
    running_tokens: int
    budget_tokens: int
    drain_tokens_per_s: float | None
    arrived_requests: int
    arrived_tokens: int
    refused_requests: int


@dataclass(eq=False, slots=True)
class _Waiting(Entry):
    go: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turn:
    """A request's time with an engine. `waited_s`: how long it was queued before."""

    def __init__(self, former: "Former", demand: Demand, waited_s: float, asked_s: float) -> None:
        self._former = former
        self._demand = demand
        self._asked_s = asked_s
        self.waited_s = waited_s
        self.has_begun = False

    def began(self, output_tokens: int = 1) -> None:
        """So much of the answer has come, for the first time: its prompt makes room for others, and the budget learns."""
        if not self.has_begun:
            self.has_begun = True
            self._former.began(self._demand, self._asked_s, output_tokens)


class Former:
    """One model's. `replicas` counts those that run; `running_max` is how many requests one of them takes."""

    def __init__(self, slo: Slo, running_max: int, replicas: Callable[[], int], clock_s: Callable[[], float]) -> None:
        self._slo = slo
        self._running_max = running_max
        self._replicas = replicas
        self._clock_s = clock_s
        self._queue = FairQueue()
        self._budget = Budget()
        self._drain = DrainRate()
        self._running_requests = 0
        self._running_tokens = 0
        self._arrived_requests = 0
        self._arrived_tokens = 0
        self._refused_requests = 0
        self._strict_until_s = 0.0

    def check_room(self, demand: Demand) -> None:
        """Raise `Overloaded` if this would wait too long: asked before the request's hold, which then costs nothing.

        What counts is its own flow: a tenant that floods, or its large pages, keep out nobody else.
        """
        backlog = self._queue.backlog(demand)
        if backlog is None or backlog.requests < WAITING_MIN:
            return
        too_many = backlog.requests >= WAITING_MAX * self._queue.share(demand)
        if too_many or self._expected_wait_s(demand) > self._wait_max_s(demand):
            raise self._refusal(demand)

    @asynccontextmanager
    async def turn(self, demand: Demand, wait_s: float) -> AsyncIterator[Turn]:
        """Wait until it is this request's turn; it counts as running until the context ends.

        Raises `Overloaded` if there is no room to wait, or if the turn has not come within `wait_s`.
        """
        self._arrived_requests += 1
        self._arrived_tokens += demand.tokens
        arrived_s = now_s = self._clock_s()
        if self._passes(demand):
            self._start(demand)
        else:
            await self._wait(demand, wait_s)
            now_s = self._clock_s()
        turn = Turn(self, demand, now_s - arrived_s, now_s)
        try:
            yield turn
        finally:
            self._end(demand, 0 if turn.has_begun else demand.tokens)

    def began(self, demand: Demand, asked_s: float, output_tokens: int) -> None:
        """An answer has begun; called by its `Turn`."""
        now_s, others_wait = self._clock_s(), len(self._queue) > 0
        target_ms = self._slo.answer_ms(demand.vision_tokens, output_tokens)
        self._budget.learn(
            Answered(demand.tokens, asked_s, now_s, target_ms, self._running_tokens, others_wait), self._replicas()
        )
        self._drain.left(demand.tokens, now_s, others_wait=others_wait)
        self._running_tokens -= demand.tokens
        self._fill()

    def load(self) -> Load:
        """How things stand."""
        oldest_s = self._queue.oldest_s()
        return Load(
            len(self._queue),
            self._queue.tokens(is_batch=False),
            self._queue.tokens(is_batch=True),
            0.0 if oldest_s is None else self._clock_s() - oldest_s,
            self._running_requests,
            self._running_tokens,
            round(self._budget.tokens * self._replicas()),
            self._drain.tokens_per_s,
            self._arrived_requests,
            self._arrived_tokens,
            self._refused_requests,
        )

    def _passes(self, demand: Demand) -> bool:
        """Nobody who goes first is waiting, and there is room."""
        waits_before = len(self._queue) if demand.is_batch else self._queue.tokens(is_batch=False)
        return not waits_before and self._has_room(is_batch=demand.is_batch)

    def _has_room(self, *, is_batch: bool) -> bool:
        """The last one to find room may go over the budget: so a request larger than all of it runs too."""
        replicas = self._replicas()
        budget_tokens = self._budget.tokens * replicas * (BATCH_SHARE if is_batch else 1)
        return self._running_tokens < budget_tokens and self._running_requests < self._running_max * replicas

    def _start(self, demand: Demand) -> None:
        self._running_requests += 1
        self._running_tokens += demand.tokens

    def _end(self, demand: Demand, tokens_left: int) -> None:
        """`tokens_left`: those of a prompt whose answer never began."""
        self._running_requests -= 1
        self._running_tokens -= tokens_left
        self._fill()

    def _fill(self) -> None:
        """Let those go who are next, as long as there is room."""
        for is_batch in (False, True):
            while self._has_room(is_batch=is_batch) and self._queue.head(is_batch=is_batch):
                entry = self._queue.pop(is_batch=is_batch)
                assert isinstance(entry, _Waiting)
                if not entry.go.done():  # else its client has left this very moment
                    self._start(entry.demand)
                    entry.go.set_result(None)

    async def _wait(self, demand: Demand, wait_s: float) -> None:
        self.check_room(demand)
        entry = _Waiting(demand, self._clock_s())
        self._queue.push(entry)
        try:
            async with asyncio.timeout(wait_s if demand.is_batch else min(wait_s, BURST_S)):
                await entry.go
        except BaseException as error:
            # Its client has left, or its time is up: it costs no GPU anything.
            if not entry.go.cancelled():
                self._end(demand, demand.tokens)
            elif entry in self._queue:
                self._queue.remove(entry)
            if isinstance(error, TimeoutError):
                raise self._refusal(demand) from None
            raise

    def _expected_wait_s(self, demand: Demand) -> float:
        """Until this and all that waits of its flow would be through; 0 while the engines' pace is not known."""
        if self._drain.tokens_per_s is None:
            return 0.0
        backlog = self._queue.backlog(demand)
        tokens = demand.tokens + (backlog.tokens if backlog else 0)
        return tokens / (self._drain.tokens_per_s * self._queue.share(demand))

    def _wait_max_s(self, demand: Demand) -> float:
        """A burst is queued. Once one was too large, and as long as more is refused, a request waits only so long that its
        answer can still begin in time (as in Maurer, "Fail at Scale", ACM Queue 2015). Batch work is in no hurry.
        """
        if demand.is_batch:
            return math.inf
        if self._clock_s() >= self._strict_until_s:
            return BURST_S
        return (1 - ENGINE_SHARE) * self._slo.answer_ms(demand.vision_tokens, 1) / 1000

    def _refusal(self, demand: Demand) -> Overloaded:
        """`Retry-After` is when it would have been through."""
        self._refused_requests += 1
        self._strict_until_s = self._clock_s() + BURST_S
        return Overloaded(max(1, min(math.ceil(self._expected_wait_s(demand)), RETRY_AFTER_MAX_S)))
