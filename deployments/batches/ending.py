"""The end of a batch: its output file and its error file, made of its journal; making them again makes the same."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

from accounting.failpoint import failpoint
from deployments.batches.batch import Asked, Progress, Status
from deployments.batches.journal import Journal
from deployments.batches.line import Line, Result, line_name, not_run
from deployments.batches.tally import NOTHING
from deployments.files.file import FILE, Purpose, new_id
from deployments.files.store import Draft, FileStore
from deployments.one_line import escaped

# Records that are written at once.
RECORDS = 64
NOT_RUN = {
    Status.CANCELLED: ("batch_cancelled", "The batch was cancelled before this line ran. Nothing was charged for it."),
    Status.EXPIRED: ("batch_expired", "The batch expired before this line ran. Nothing was charged for it."),
}


async def write_files(
    asked: Asked, progress: Progress, plan: list[Line], journal: Journal, files: FileStore
) -> Progress:
    """Make the files of a batch that is finalizing. Returns its progress with their ids and the final counts."""
    output_id, error_id = (_file_id(asked, progress, kind) for kind in ("output", "error"))
    tally = NOTHING
    async with files.draft(asked.owner, output_id) as output, files.draft(asked.owner, error_id) as errors:
        async for results in _results(asked, progress, plan, journal):
            for draft, ok in ((output, True), (errors, False)):
                await draft.write(b"".join(escaped(result.record) + b"\n" for result in results if result.ok is ok))
            tally = sum((result.tally for result in results), tally)
        output_file_id = await _kept(output, f"{asked.id}_output.jsonl")
        failpoint("batch.output_written")
        error_file_id = await _kept(errors, f"{asked.id}_error.jsonl")
    return replace(progress, tally=tally, output_file_id=output_file_id, error_file_id=error_file_id)


async def _results(asked: Asked, progress: Progress, plan: list[Line], journal: Journal) -> AsyncIterator[list[Result]]:
    """One result of every line: from the journal, the first that is there; of those without one, that they did not run."""
    told: set[int] = set()
    async for entries in journal.segments():
        fresh = {one.number: one for one in reversed(entries) if isinstance(one, Result) and one.number not in told}
        told |= fresh.keys()
        yield list(fresh.values())
    left = [line for line in plan if line.number not in told]
    for first in range(0, len(left), RECORDS):
        code, message = NOT_RUN[progress.ending or Status.EXPIRED]
        yield [
            not_run(line_name(asked.id, line.custom_id), line, code, message) for line in left[first : first + RECORDS]
        ]


async def _kept(draft: Draft, filename: str) -> str | None:
    """The id of the file, if there is anything in it."""
    if not draft.size_bytes:
        return None
    return (await draft.keep(filename, Purpose.BATCH_OUTPUT)).id


def _file_id(asked: Asked, progress: Progress, kind: str) -> str:
    assert progress.finalizing_at_ms is not None
    random = hashlib.sha256(f"{asked.id}\n{kind}".encode()).hexdigest()
    return new_id(FILE, progress.finalizing_at_ms, random)
