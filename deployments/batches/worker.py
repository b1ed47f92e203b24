"""Finds batches in the book and lives their lives, several at once."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from deployments.batches.batch import Asked
from deployments.batches.life import BatchLife
from deployments.batches.running import Surroundings
from deployments.batches.shift import Shift
from deployments.files.file import Owner
from deployments.files.place import StoreFailed
from deployments.log import logger_for

logger = logger_for(__name__)

LOOK_EVERY_S = 1.0
LOOKS_BEFORE_BEGIN = 2
# After what has stopped a batch, such as a store that is away, it is left alone so long.
LEFT_ALONE_S = 5.0
# Of one owner: more of them wait, so that one owner's thousand do not keep another's waiting.
BATCHES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class _Living:
    owner: Owner
    life: BatchLife
    task: asyncio.Task[None]


class Worker:
    """Works as long as it has the shift."""

    def __init__(self, around: Surroundings, shift: Shift, look_every_s: float = LOOK_EVERY_S) -> None:
        self._around = around
        self._shift = shift
        self._look_every_s = look_every_s
        self._living: dict[str, _Living] = {}

    async def run(self) -> None:
        """Until it is cancelled; then what runs is left as if this worker had died."""
        try:
            await self._begin_shift()
            while True:
                try:
                    if await self._shift.is_ours():
                        await self._look()
                    else:
                        await self._leave()
                except StoreFailed as error:
                    logger.warning("the batches cannot be looked through: %s", error)
                await asyncio.sleep(self._look_every_s)
        finally:
            await self._leave()

    async def _begin_shift(self) -> None:
        """Whoever worked before has the time to see it, and to leave."""
        while True:
            try:
                await self._shift.take()
                break
            except StoreFailed as error:
                logger.warning("the batches cannot be taken over: %s", error)
                await asyncio.sleep(self._look_every_s)
        await asyncio.sleep(LOOKS_BEFORE_BEGIN * self._look_every_s)

    async def _leave(self) -> None:
        """Leave everything as it is."""
        tasks = [living.task for living in self._living.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Begin what is new, and tell of cancellations."""
        queue = await self._around.book.queue()
        for batch_id in queue.ids:
            if batch_id not in self._living and (asked := await self._around.book.queued(batch_id)):
                self._begin(asked)
        for batch_id in queue.cancelled & self._living.keys():
            self._living[batch_id].life.cancel()

    def _begin(self, asked: Asked) -> None:
        busy = Counter(living.owner for living in self._living.values())
        if busy[asked.owner] >= BATCHES_AT_ONCE:
            return
        life = BatchLife(asked, self._around)
        self._living[asked.id] = _Living(asked.owner, life, asyncio.create_task(self._live(asked, life)))

    async def _live(self, asked: Asked, life: BatchLife) -> None:
        try:
            await life.run()
        except Exception:
            # Whatever it is, what is written down stays, and the others go on.
            logger.exception("batch %s stopped; it is gone on with", asked.id)
            await asyncio.sleep(LEFT_ALONE_S)
        finally:
            del self._living[asked.id]
