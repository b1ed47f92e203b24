"""The attempts at a request that run in this gateway: once a client's silent retry goes on with a hold, those before it end.

What an engine does for them is for nobody, and paid by nobody.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from accounting import questions
from deployments.gateway.errors import InProgress
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

# So long two attempts may run beside each other that came to different gateways.
LOOK_EVERY_S = 1.0


@dataclass(eq=False, slots=True)
class _Run:
    number: int
    task: asyncio.Task[object]
    was_taken_over: bool = False

    def end(self) -> None:
        if not self.was_taken_over:
            self.was_taken_over = True
            self.task.cancel()


class Attempts:
    """Those that have a hold, by its request. An attempt's number counts from 1, over all gateways."""

    def __init__(self) -> None:
        self._runs: dict[str, set[_Run]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._runs)

    @asynccontextmanager
    async def running(self, request_id: str, number: int) -> AsyncIterator[None]:
        """Run the block; if a later attempt takes the request over, end it with `InProgress`."""
        task = asyncio.current_task()
        assert task is not None
        run = _Run(number, task)
        self._runs[request_id].add(run)
        try:
            yield
        except asyncio.CancelledError:
            if run.was_taken_over and task.uncancel() == 0:
                raise InProgress from None
            raise
        finally:
            self._runs[request_id].discard(run)
            if not self._runs[request_id]:
                del self._runs[request_id]

    def end_before(self, request_id: str, number: int) -> None:
        """The request is at this attempt now: end those before it."""
        for run in self._runs.get(request_id, ()):
            if run.number < number:
                run.end()


async def keep_ending(attempts: Attempts, ledger: LedgerClient) -> None:
    """End attempts whose retry came to another gateway, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if not attempts:
            continue
        try:
            for request_id, number in await ledger.ask(questions.Takeovers()):
                attempts.end_before(request_id, number)
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look may go well
            logger.warning("retries not looked for: %s: %s", type(error).__name__, error)
