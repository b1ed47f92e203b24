"""The life of a batch: validate, run, finalize. Whatever kills it, the next worker goes on from what is written down."""

import asyncio
from dataclasses import replace

from accounting.failpoint import failpoint
from deployments.batches.batch import Asked, Progress, Status
from deployments.batches.ending import write_files
from deployments.batches.running import Running, Surroundings
from deployments.batches.validation import Validation, lines_of


class BatchLife:
    """One batch, from wherever it is to its end. Raises `StoreFailed`, or a group with it: begin it again later."""

    def __init__(self, asked: Asked, around: Surroundings) -> None:
        self._asked = asked
        self._around = around
        self._book = around.book
        self._stop = asyncio.Event()
        self._cancelled = False

    def cancel(self) -> None:
        """Begin no line any more; those that run are seen to their end."""
        self._cancelled = True
        self._stop.set()

    async def run(self) -> None:
        """Return when the batch has ended."""
        progress = await self._book.progress(self._asked.id)
        if progress.status is Status.VALIDATING:
            progress = await self._validated(progress)
        if progress.status is Status.IN_PROGRESS:
            progress = await self._answered(progress)
        if progress.status is Status.FINALIZING:
            await self._finalized(progress)
        await self._book.close(self._asked.id)

    async def _validated(self, progress: Progress) -> Progress:
        """Every line is checked before any is run."""
        check = Validation(self._around.served_name)
        content = self._around.files.chunks(self._asked.owner, self._asked.input_file_id)
        async for number, start, data in lines_of(content):
            check.add(number, start, data)
            if check.full:
                break
        check.end()
        now_ms = self._around.now_ms()
        if check.faults:
            faults = tuple(check.faults)
            return await self._published(replace(progress, status=Status.FAILED, faults=faults, ended_at_ms=now_ms))
        await self._book.keep_plan(self._asked.id, check.lines)
        begun = replace(progress, status=Status.IN_PROGRESS, total=len(check.lines), in_progress_at_ms=now_ms)
        return await self._published(replace(begun, model=check.only_model))

    async def _answered(self, progress: Progress) -> Progress:
        """The lines that have no answer yet are asked for, until that is done, or over."""
        left_ms = self._asked.expires_at_ms - self._around.now_ms()
        expiry = asyncio.get_running_loop().call_later(left_ms / 1000, self._stop.set)
        try:
            progress = await Running(self._asked, progress, self._around, self._stop).finish()
        finally:
            expiry.cancel()
        ending = progress.decided_ending(self._cancelled)
        progress = replace(progress, status=Status.FINALIZING, ending=ending, finalizing_at_ms=self._around.now_ms())
        if ending is Status.CANCELLED:
            cancelling_at_ms = await self._book.cancelled_at_ms(self._asked.id)
            progress = replace(progress, cancelling_at_ms=cancelling_at_ms)
        return await self._published(progress)

    async def _finalized(self, progress: Progress) -> Progress:
        """The files are made; then the batch has ended."""
        failpoint("batch.finalizing")
        plan, journal = await self._book.plan(self._asked.id), self._book.journal(self._asked.id)
        progress = await write_files(self._asked, progress, plan, journal, self._around.files)
        failpoint("batch.files_written")
        ended_at_ms = self._around.now_ms()
        assert progress.ending
        return await self._published(replace(progress, status=progress.ending, ended_at_ms=ended_at_ms))

    async def _published(self, progress: Progress) -> Progress:
        await self._book.publish(self._asked.id, progress)
        return progress
