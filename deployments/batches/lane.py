"""The lines of one model in one batch: asked in the order of the file, a bounded number at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deployments.batches.line import Line, Result

# When the engine has broken off so often, that is a line's answer: it may be the line that breaks it.
TRIES_MAX = 3
# When a line alone was refused so often while others of its model were answered, that is its answer: it is the line's own fault.
TRIES_ALONE_MAX = 20


@dataclass(frozen=True, slots=True)
class NotNow:
    """A line is to be asked again. `may_run`: it may run somewhere, or be charged already, so its end must be seen.
    `failure`: what it gets if this happens too often; `counts_alone`: what happens to all lines at once is no fault of one.
    """

    wait_s: float
    may_run: bool = False
    failure: Result | None = None
    counts_alone: bool = False


Ask = Callable[[Line], Awaitable[Result | NotNow]]


class Lane:
    """Asks until every line has its result, or until `stop`; what may run then is still seen to its end.

    All lanes of a model share its `slots`; the one that waits longest is next, so batches move on together. When one
    line is told to wait, its whole lane does: the others would be told the same.
    """

    def __init__(
        self,
        model: str,
        lines: Sequence[Line],
        begun: int,
        at_once: int,
        slots: asyncio.Semaphore,
        stop: asyncio.Event,
    ) -> None:
        """`begun`: so many of the lines may have been asked already, by a worker that has died."""
        self._model = model
        self._lines = lines
        self._begun = begun
        self._window_size = at_once
        self._window = asyncio.Semaphore(at_once)
        self._slots = slots
        self._stop = stop
        self._resume_at_s = 0.0
        self._answered = 0

    async def run(
        self,
        answered: Callable[[Line], bool],
        begin: Callable[[str, int], Awaitable[None]],
        ask: Ask,
        done: Callable[[Result], None],
    ) -> None:
        """`begin` writes down that so many lines may have been asked; no line beyond them is before."""
        begun = self._begun
        async with asyncio.TaskGroup() as group:
            for place, line in enumerate(self._lines):
                if answered(line):
                    continue
                may_run = place < self._begun
                await self._window.acquire()
                await self._rested(may_run)
                if self._stop.is_set() and not may_run:
                    break
                if place >= begun:
                    begun = min(place + self._window_size, len(self._lines))
                    await begin(self._model, begun)
                group.create_task(self._follow(line, may_run, ask, done))

    async def _follow(self, line: Line, may_run: bool, ask: Ask, done: Callable[[Result], None]) -> None:
        """Ask for a line until it has its result."""
        failures = failures_alone = 0
        others = self._answered
        try:
            while may_run or not self._stop.is_set():
                async with self._slots:
                    outcome = await ask(line)
                if isinstance(outcome, NotNow) and outcome.failure:
                    if not outcome.counts_alone:
                        failures += 1
                    elif self._answered > others:
                        failures_alone += 1
                    others = self._answered
                    if failures == TRIES_MAX or failures_alone == TRIES_ALONE_MAX:
                        outcome = outcome.failure
                if isinstance(outcome, Result):
                    self._answered += 1
                    done(outcome)
                    return
                may_run = outcome.may_run
                self._resume_at_s = max(self._resume_at_s, _now_s() + outcome.wait_s)
                await self._rested(may_run)
        finally:
            self._window.release()

    async def _rested(self, may_run: bool) -> None:
        """Return when the lane may go on, or need not."""
        left_s = self._resume_at_s - _now_s()
        if left_s > 0 and may_run:
            await asyncio.sleep(left_s)
        elif left_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), left_s)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
