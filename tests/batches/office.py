"""Batches in a real gateway: uploaded and asked for over its API, run by a worker beside it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from deployments.batches.batch import ENDPOINT, WINDOW
from deployments.batches.book import Book
from deployments.batches.line import Answered, Lines
from deployments.batches.running import AT_ONCE, Surroundings
from deployments.batches.shift import Shift
from deployments.batches.worker import Worker
from deployments.files.file import File, Owner, Purpose
from deployments.files.objects import Objects, open_objects
from deployments.files.store import FileStore
from tests.gateway.client import Client
from tests.gateway.house import PRICE, House, question, running_house

OWNER = Owner("org", "project")
ENDED = {"failed", "completed", "expired", "cancelled"}
LOOK_EVERY_S = 0.01


@dataclass(frozen=True)
class InHouse:
    """`Lines` that a gateway in this process answers."""

    house: House

    async def run(self, key_id: str, name: str, body: bytes) -> Answered:
        """See `Lines.run`."""
        return await self.house.app.run_line(key_id, name, body)


@dataclass
class Office:
    """A gateway, and what its batch worker has around it."""

    house: House
    objects: Objects
    around: Surroundings

    @property
    def files(self) -> FileStore:
        return self.around.files

    @property
    def book(self) -> Book:
        return self.around.book

    async def ask(self, method: str, path: str, body: object = None) -> Client:
        data = b"" if body is None else orjson.dumps(body)
        return await Client(data, self.house.key, path, method).ask(self.house.app)

    async def upload(self, *lines: bytes) -> File:
        """A file for a batch."""
        async with self.files.draft(OWNER) as draft:
            await draft.write(b"\n".join(lines))
            return await draft.keep("input.jsonl", Purpose.BATCH)

    async def begin(self, *lines: bytes) -> str:
        """Ask for a batch. Returns its id."""
        file = await self.upload(*lines)
        new = {"input_file_id": file.id, "endpoint": ENDPOINT, "completion_window": WINDOW}
        asked = await self.ask("POST", "/v1/batches", new)
        assert asked.status == 200, asked.body
        return asked.json["id"]

    async def batch(self, batch_id: str) -> dict[str, Any]:
        return (await self.ask("GET", f"/v1/batches/{batch_id}")).json

    async def ended(self, batch_id: str) -> dict[str, Any]:
        """The batch, when it has ended and everything of it is done."""
        return await self.until(batch_id, lambda batch: batch["status"] in ENDED)

    async def until(self, batch_id: str, true_of: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The batch, as soon as this is true of it."""
        while not true_of(batch := await self.batch(batch_id)):  # noqa: ASYNC110  # it is in files
            await asyncio.sleep(LOOK_EVERY_S)
        return batch

    async def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of a file, in the order of their custom ids."""
        assert file_id
        content = (await self.ask("GET", f"/v1/files/{file_id}/content")).body
        return sorted(map(orjson.loads, content.splitlines()), key=lambda row: row["custom_id"])

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """While this lasts, batches are worked on. Its end is as sudden as a death."""
        shift = Shift(self.objects, self.house.clock)
        working = asyncio.create_task(Worker(self.around, shift, LOOK_EVERY_S).run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def line(custom_id: str = "a", body: bytes = b"", **fields: Any) -> bytes:
    """A line of a batch's file: a question with one image."""
    asked = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": orjson.loads(body or question())}
    return orjson.dumps(asked | fields)


def served_name(name: str) -> str | None:
    """As the catalog has it: one model, of two names."""
    return PRICE.model if name in ("demo", PRICE.model) else None


@asynccontextmanager
async def running_office(
    folder: Path, lines: Callable[[House], Lines] = InHouse, grant_nano: int = 10**9, address: str = ""
) -> AsyncIterator[Office]:
    """Start it all, but for the worker. `lines`: the worker's way to the gateway; `address`: of the files."""
    async with running_house(folder, grant_nano, files=address) as house:
        objects = open_objects(address or str(folder / "files"))
        slots: dict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, AT_ONCE))
        around = Surroundings(
            Book(objects),
            FileStore(objects, house.clock),
            lines(house),
            served_name,
            slots.__getitem__,
            house.clock,
            keep_within_s=LOOK_EVERY_S,
            ask_again_s=LOOK_EVERY_S,
        )
        yield Office(house, objects, around)
