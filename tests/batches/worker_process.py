"""A batch worker in a process of its own, to be killed: `python -m tests.batches.worker_process FOLDER URL MODEL NOW_MS`."""

import asyncio
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import aiohttp

from deployments.batches.book import Book
from deployments.batches.line import Answered, Unreachable
from deployments.batches.running import AT_ONCE, Surroundings
from deployments.batches.shift import Shift
from deployments.batches.worker import Worker
from deployments.files.objects import open_objects
from deployments.files.store import FileStore

LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class OverHttp:
    """`Lines` of a gateway in another process."""

    session: aiohttp.ClientSession
    url: str

    async def run(self, key_id: str, name: str, body: bytes) -> Answered:
        """See `Lines.run`."""
        try:
            async with self.session.post(self.url, params={"key_id": key_id, "name": name}, data=body) as answer:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answered(answer.status, headers, await answer.read())
        except aiohttp.ClientError as error:
            raise Unreachable from error


async def main(folder: str, url: str, model: str, at_ms: str) -> None:
    def now_ms() -> int:
        return int(at_ms)

    objects = open_objects(folder)
    slots: dict[str, asyncio.Semaphore] = defaultdict(partial(asyncio.Semaphore, AT_ONCE))
    async with aiohttp.ClientSession() as session:
        around = Surroundings(
            Book(objects),
            FileStore(objects, now_ms),
            OverHttp(session, url),
            {model: model, "demo": model}.get,
            slots.__getitem__,
            now_ms,
            keep_within_s=0.02,
        )
        await Worker(around, Shift(objects, now_ms), LOOK_EVERY_S).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
