"""A batch while its lines are answered: asks for those that have no result yet, and writes down what comes."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from deployments.batches.batch import Asked, Progress
from deployments.batches.book import Book
from deployments.batches.journal import Begun
from deployments.batches.lane import Lane, NotNow
from deployments.batches.line import (
    Line,
    Lines,
    Result,
    Unreachable,
    is_of_the_ledger,
    line_name,
    not_run,
    result_of,
    wait_s,
)
from deployments.batches.tally import NOTHING
from deployments.batches.validation import ServedName
from deployments.files.store import FileStore
from deployments.log import logger_for

logger = logger_for(__name__)

# Longer than the longest answer, and than its hold stays open if its gateway has died.
LAST_ANSWERS_S = 700.0
AT_ONCE = 16
# As long as the ledger keeps a line's answer: `accounting/sql/repeats.py`.
ANSWERS_KEPT_MS = 7 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all batches of a worker share. `slots_of`: those of a model; `at_once`: lines of a model in one batch.

    `keep_within_s`: so long a result waits for others to be written down with. `ask_again_s`: after a failure.
    """

    book: Book
    files: FileStore
    lines: Lines
    served_name: ServedName
    slots_of: Callable[[str], asyncio.Semaphore]
    now_ms: Callable[[], int]
    at_once: int = AT_ONCE
    keep_within_s: float = 0.5
    ask_again_s: float = 1.0


class Running:
    """The lines of one batch on their way to a result. `stop`: no line is begun any more."""

    def __init__(self, asked: Asked, progress: Progress, around: Surroundings, stop: asyncio.Event) -> None:
        self.progress = progress
        self._asked = asked
        self._around = around
        self._stop = stop
        self._journal = around.book.journal(asked.id)
        self._told: set[int] = set()
        self._begun: dict[str, int] = defaultdict(int)
        self._tally = NOTHING
        self._unkept: list[Result] = []
        self._news = asyncio.Event()
        self._ended = asyncio.Event()

    async def finish(self) -> Progress:
        """Return when every line has a result, or none is to be asked for any more. Raises `StoreFailed`, in a group."""
        lanes = await self._resumed()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            await self._run(lanes)
            self._ended.set()
            self._news.set()
        return replace(self.progress, tally=self._tally)

    async def _resumed(self) -> list[Lane]:
        """Read what a worker before has written down. Returns a lane for each model."""
        async for entries in self._journal.segments():
            for entry in entries:
                if isinstance(entry, Begun):
                    self._begun[entry.model] = max(self._begun[entry.model], entry.lines)
                else:
                    self._tell(entry)
        if self._around.now_ms() >= self._asked.created_at_ms + ANSWERS_KEPT_MS:
            self._begun.clear()  # asked again, a line might be charged again: it is given up instead
        by_model: dict[str, list[Line]] = defaultdict(list)
        for line in await self._around.book.plan(self._asked.id):
            by_model[line.model].append(line)
        return [
            Lane(model, lines, self._begun[model], self._around.at_once, self._around.slots_of(model), self._stop)
            for model, lines in by_model.items()
        ]

    async def _run(self, lanes: list[Lane]) -> None:
        try:
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as group:
                bounding = asyncio.create_task(self._bound(patience))
                running = [
                    group.create_task(lane.run(self._is_told, self._begin, self._ask, self._done)) for lane in lanes
                ]
                try:
                    await asyncio.gather(*running)
                finally:
                    bounding.cancel()
        except TimeoutError:
            logger.warning("batch %s: lines that may run were given up", self._asked.id)

    async def _bound(self, patience: asyncio.Timeout) -> None:
        """Once the batch is stopped, its last answers are waited for, but not for ever."""
        await self._stop.wait()
        patience.reschedule(asyncio.get_running_loop().time() + LAST_ANSWERS_S)

    def _is_told(self, line: Line) -> bool:
        return line.number in self._told

    async def _begin(self, model: str, lines: int) -> None:
        await self._journal.append([Begun(model, lines)])

    async def _ask(self, line: Line) -> Result | NotNow:
        name = line_name(self._asked.id, line.custom_id)
        files, asked = self._around.files, self._asked
        data = await files.part(asked.owner, asked.input_file_id, line.start, line.size)
        if not data:
            return not_run(name, line, "input_file_deleted", "The input file was deleted before this line ran.")
        try:
            answered = await self._around.lines.run(asked.key_id, name, orjson.dumps(orjson.loads(data)["body"]))
        except Unreachable:
            return NotNow(self._around.ask_again_s, may_run=True)
        if (again_s := wait_s(answered)) is not None:
            failure = result_of(name, line, answered) if is_of_the_ledger(answered) else None
            return NotNow(again_s, may_run=answered.status == 409, failure=failure, counts_alone=True)
        result = result_of(name, line, answered)
        return NotNow(self._around.ask_again_s, failure=result) if answered.status == 500 else result

    def _done(self, result: Result) -> None:
        self._tell(result)
        self._unkept.append(result)
        self._news.set()

    def _tell(self, result: Result) -> None:
        if result.number not in self._told:
            self._told.add(result.number)
            self._tally += result.tally

    async def _keep(self) -> None:
        """Write results down as they come, many at once."""
        while not self._ended.is_set() or self._unkept:
            await self._news.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._around.keep_within_s)
            self._news.clear()
            results, tally = self._unkept, self._tally
            self._unkept = []
            if results:
                await self._journal.append(results)
                self.progress = replace(self.progress, tally=tally)
                await self._around.book.publish(self._asked.id, self.progress)
