"""Where batches are kept: objects, each with one writer. Gateways write what is asked, the worker how far it is.

batches/<organisation>/<project>/<id>   what was asked
queue/<id>                              the same, until the batch has ended
queue/<id>.cancel                       when it was told to stop
progress/<id>                           how far it is
plans/<id>                              its lines: where each lies in the file
journals/<id>/<segment>                 what happened to its lines
"""

from dataclasses import asdict, dataclass
from typing import TypeVar

import orjson
from pydantic import TypeAdapter

from accounting.failpoint import failpoint
from deployments.batches.batch import BATCH, Asked, Progress
from deployments.batches.journal import Journal
from deployments.batches.line import Line
from deployments.files.file import Owner, is_id
from deployments.files.objects import Objects

QUEUE = "queue/"
CANCEL = ".cancel"

T = TypeVar("T")
_ASKED, _PROGRESS, _PLAN = TypeAdapter(Asked), TypeAdapter(Progress), TypeAdapter(list[Line])


@dataclass(frozen=True, slots=True)
class Queue:
    """The batches that have not ended, oldest first, and those among them that were told to stop."""

    ids: tuple[str, ...]
    cancelled: frozenset[str]


class Book:
    """Everything raises `StoreFailed` where the store does not work."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def open(self, asked: Asked) -> None:
        """Enter a new batch."""
        await self._objects.write(_asked(asked.owner, asked.id), orjson.dumps(asdict(asked)))
        await self._enqueue(asked)

    async def cancel(self, asked: Asked, now_ms: int) -> None:
        """Have a batch end early."""
        await self._objects.write(f"{QUEUE}{asked.id}{CANCEL}", str(now_ms).encode())
        await self._enqueue(asked)  # again: whoever entered it may have died before

    async def find(self, owner: Owner, batch_id: str) -> Asked | None:
        """What was asked, if it is this owner's."""
        if not is_id(BATCH, batch_id):
            return None
        return _read(_ASKED, await self._objects.read(_asked(owner, batch_id)))

    async def ids(self, owner: Owner) -> list[str]:
        """Of all of an owner's batches, oldest first."""
        return [key.rpartition("/")[2] for key in await self._objects.keys(_asked(owner, ""))]

    async def progress(self, batch_id: str) -> Progress:
        """How far a batch is."""
        return _read(_PROGRESS, await self._objects.read(_progress(batch_id))) or Progress()

    async def cancelled_at_ms(self, batch_id: str) -> int | None:
        """When a batch that has not ended was told to stop."""
        at_ms = await self._objects.read(f"{QUEUE}{batch_id}{CANCEL}")
        return None if at_ms is None else int(at_ms)

    async def queue(self) -> Queue:
        """What there is to do."""
        names = [key.removeprefix(QUEUE) for key in await self._objects.keys(QUEUE)]
        ids = tuple(name for name in names if not name.endswith(CANCEL))
        return Queue(ids, frozenset(name.removesuffix(CANCEL) for name in names if name.endswith(CANCEL)))

    async def queued(self, batch_id: str) -> Asked | None:
        """What was asked, of a batch that has not ended."""
        return _read(_ASKED, await self._objects.read(QUEUE + batch_id))

    async def publish(self, batch_id: str, progress: Progress) -> None:
        """Write down how far a batch is."""
        await self._objects.write(_progress(batch_id), orjson.dumps(asdict(progress)))

    async def plan(self, batch_id: str) -> list[Line]:
        """The lines of a batch that was validated."""
        return _read(_PLAN, await self._objects.read(_plan(batch_id))) or []

    async def keep_plan(self, batch_id: str, lines: list[Line]) -> None:
        await self._objects.write(_plan(batch_id), orjson.dumps([asdict(line) for line in lines]))

    def journal(self, batch_id: str) -> Journal:
        """As a new writer of it."""
        return Journal(self._objects, f"journals/{batch_id}/")

    async def close(self, batch_id: str) -> None:
        """Take a batch that has ended out of the queue, and remove what was only needed on the way."""
        await self.journal(batch_id).remove()
        await self._objects.remove(_plan(batch_id))
        await self._objects.remove(f"{QUEUE}{batch_id}{CANCEL}")
        failpoint("batch.closing")
        await self._objects.remove(QUEUE + batch_id)

    async def _enqueue(self, asked: Asked) -> None:
        await self._objects.write(QUEUE + asked.id, orjson.dumps(asdict(asked)))


def _read(kind: TypeAdapter[T], data: bytes | None) -> T | None:
    return None if data is None else kind.validate_json(data)


def _asked(owner: Owner, batch_id: str) -> str:
    return f"batches/{owner.path}/{batch_id}"


def _progress(batch_id: str) -> str:
    return f"progress/{batch_id}"


def _plan(batch_id: str) -> str:
    return f"plans/{batch_id}"
