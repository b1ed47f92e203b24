"""Having an engine answer: its turn in the queue, a slot on a replica, the request itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

from accounting.price import Work
from catalog.card import ModelCard
from deployments.gateway import trace
from deployments.gateway.answer import read_usage
from deployments.gateway.coalesce import Answer, Lead
from deployments.gateway.engine import EngineAnswer, EngineLost, Engines
from deployments.gateway.errors import EngineFailed, ModelWarming, Overloaded, Unavailable
from deployments.gateway.forming import Demand, Forming, Turn
from deployments.gateway.metrics import Metrics
from deployments.gateway.route import Router
from deployments.gateway.slots import Wish
from deployments.gateway.waking import LOOK_EVERY_S, Awake, Waking
from deployments.log import logger_for
from deployments.scaling.signals import Signals, Visit

logger = logger_for(__name__)

# No replica's id: a death that was seen after it is another one.
WAITED = "waited"


class EngineAway(Exception):
    """There is no engine at this replica: it restarts, or, `had_it`, it died under the request."""

    def __init__(self, replica_id: str, *, had_it: bool) -> None:
        super().__init__(replica_id)
        self.replica_id = replica_id
        self.had_it = had_it


@dataclass(frozen=True, slots=True)
class Job:
    """What an engine is to do. `affinity_key`: requests that have it in common should meet on one replica.

    `patience_s`: how long it waits for a model to start of which no replica runs.
    """

    card: ModelCard
    body: bytes
    demand: Demand
    affinity_key: str
    deadline_s: float
    work: Work
    patience_s: float = 0.0


class Executions:
    """Runs jobs, one execution each."""

    def __init__(
        self,
        forming: Forming,
        router: Router,
        engines: Engines,
        metrics: Metrics,
        signals: Signals | None = None,
        waking: Waking | None = None,
    ) -> None:
        self._forming = forming
        self._router = router
        self._engines = engines
        self._metrics = metrics
        self._signals = signals or Signals()
        self._waking = waking or Awake()

    def check_room(self, job: Job) -> None:
        """Raise `Overloaded` or `ModelWarming` if the job would not even be queued; it counts as demand all the same."""
        try:
            self._waking.check(job.card, job.patience_s, job.demand.tenant)
            self._forming.of(job.card).check_room(job.demand)
        except Unavailable as error:
            load, is_missed = self._signals.of(job.card), isinstance(error, Overloaded)
            load.refused(job.work, is_batch=job.demand.is_batch, is_missed=is_missed)
            raise

    @asynccontextmanager
    async def answer(
        self, job: Job, request_id: str, lead: Lead, woke: Callable[[], None] = lambda: None
    ) -> AsyncIterator[Answer]:
        """The engine's answer; the replica's slot is held until the context ends. `woke` is called if the model had to
        start for it.

        Raises `Overloaded`, `ModelWarming`, `BadRequest` or `EngineFailed`.
        """
        former, load = self._forming.of(job.card), self._signals.of(job.card)
        with load.visit(job.work, is_batch=job.demand.is_batch) as visit:
            if await self._waking.wait(job.card, job.patience_s, job.demand.tenant):
                visit.agreed_to_wait()
                woke()
            async with AsyncExitStack() as stack:
                with trace.step("queue"):
                    turn = await stack.enter_async_context(former.turn(job.demand, job.deadline_s))
                visit.dispatched()
                if turn.waited_s:
                    self._metrics.queued(job.card.served_name, turn.waited_s)
                yield TimedAnswer(await self._asked(stack, job, request_id, lead), turn, visit)

    async def _asked(self, stack: AsyncExitStack, job: Job, request_id: str, lead: Lead) -> EngineAnswer:
        """Ask one replica, and once more another if its engine restarts or dies: nothing of its answer was told yet.

        Whoever waits for a model to start waits for it to come back, too. But a second engine that dies under the request is
        the last: it may be what kills them.
        """
        avoid, lost, until_s = "", "", monotonic() + job.patience_s
        while True:
            is_first = not avoid
            try:
                return await self._asked_once(stack, job, request_id, lead, avoid)
            except EngineAway as away:
                # Asked again at once, an engine that is just dying is the same death.
                if away.had_it and lost not in ("", away.replica_id):
                    raise EngineFailed from away
                lost = away.replica_id if away.had_it else lost
                avoid = away.replica_id
                reason: Exception = away
            except ModelWarming as error:
                is_first, reason = False, error
            if is_first:
                continue
            if monotonic() >= until_s:
                raise ModelWarming from reason
            await asyncio.sleep(LOOK_EVERY_S)
            lost = lost and WAITED

    async def _asked_once(
        self, stack: AsyncExitStack, job: Job, request_id: str, lead: Lead, avoid: str
    ) -> EngineAnswer:
        wish = Wish(job.affinity_key, job.demand.tokens, avoid)
        async with AsyncExitStack() as asking:
            replica = await asking.enter_async_context(self._router.replica(job.card, job.deadline_s, wish))
            lead(replica.id)
            asking.enter_context(trace.step("engine"))
            ask = self._engines.ask(replica, request_id, job.body, job.card.context_tokens)
            try:
                answer = await asking.enter_async_context(ask)
            except ModelWarming as error:
                logger.warning("%s: nothing listens on replica %s", job.card.served_name, replica.id)
                raise EngineAway(replica.id, had_it=False) from error
            except EngineLost as error:
                logger.error("%s: the engine of replica %s died under %s", job.card.served_name, replica.id, request_id)
                raise EngineAway(replica.id, had_it=True) from error
            stack.push_async_exit(asking.pop_all())
            return answer


class TimedAnswer:
    """An engine's answer that tells the queue and the autoscaler when it began, and the latter how long it was."""

    def __init__(self, answer: EngineAnswer, turn: Turn, visit: Visit) -> None:
        self._answer = answer
        self._turn = turn
        self._visit = visit

    async def whole(self) -> dict[str, Any]:
        """See `Answer.whole`."""
        data = await self._answer.whole()
        output_tokens = read_usage(data["usage"]).output_tokens
        self._turn.began(output_tokens)
        self._visit.began(output_tokens)
        self._visit.produced(output_tokens)
        return data

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """See `Answer.chunks`."""
        async for chunk in self._answer.chunks():
            self._turn.began()
            self._visit.began()
            if usage := chunk.get("usage"):
                self._visit.produced(read_usage(usage).output_tokens)
            yield chunk
