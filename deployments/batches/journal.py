"""What happened to a batch's lines, in segments that are written once: what a worker goes on from when another has died.

Every worker names its segments after itself, so two of them, which is one too many, never write over each other: a line
that both asked for was answered the same, and counts once.
"""

import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import orjson

from accounting.failpoint import failpoint
from deployments.batches.line import Result
from deployments.batches.tally import Tally
from deployments.files.objects import Objects


@dataclass(frozen=True, slots=True)
class Begun:
    """Of this model's lines, in the order of the file, so many may have been asked: written before they are."""

    model: str
    lines: int


Entry = Begun | Result


class Journal:
    """The segments below one prefix, which ends in "/"."""

    def __init__(self, objects: Objects, prefix: str) -> None:
        self._objects = objects
        self._prefix = prefix
        self._writer = secrets.token_hex(4)
        self._numbers = count(1)

    async def segments(self) -> AsyncIterator[list[Entry]]:
        """What is in each segment, in the order in which one worker wrote them. Later ones are numbered on from there."""
        keys = await self._objects.keys(self._prefix)
        if keys:
            self._numbers = count(1 + int(keys[-1].removeprefix(self._prefix).partition("-")[0]))
        for key in keys:
            yield [_decoded(row) for row in (await self._objects.read(key) or b"").splitlines()]

    async def append(self, entries: Iterable[Entry]) -> None:
        """Write a segment. It is there, whole, when this returns."""
        data = b"".join(orjson.dumps(_row(entry), option=orjson.OPT_APPEND_NEWLINE) for entry in entries)
        await self._objects.write(f"{self._prefix}{next(self._numbers):08}-{self._writer}", data)
        failpoint("batch.segment_written")

    async def remove(self) -> None:
        """All of it."""
        for key in await self._objects.keys(self._prefix):
            await self._objects.remove(key)


def _row(entry: Entry) -> dict[str, Any]:
    if isinstance(entry, Begun):
        return {"begun": asdict(entry)}
    return {"line": entry.number, "tally": asdict(entry.tally), "record": orjson.Fragment(entry.record)}


def _decoded(row: bytes) -> Entry:
    data = orjson.loads(row)
    if "begun" in data:
        return Begun(**data["begun"])
    return Result(data["line"], Tally(**data["tally"]), orjson.dumps(data["record"]))
