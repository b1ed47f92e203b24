"""The Serve deployment of the batch worker: one replica, which asks a gateway for every line."""

import asyncio
import time
from collections import defaultdict
from functools import partial
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from catalog import Catalog
from deployments.batches.book import Book
from deployments.batches.line import Answered, Unreachable
from deployments.batches.running import AT_ONCE, Surroundings
from deployments.batches.shift import Shift
from deployments.batches.worker import Worker
from deployments.files.objects import open_objects
from deployments.files.store import FileStore

RUN_LINE = "run_line"
# Instead of a name: the worker is in the gateway's application.
OWN_APP = ""


class GatewayLines:
    """`Lines` over Serve's handle: any gateway that has room answers. `app`: the gateway's, or `OWN_APP`."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._handle: DeploymentHandle[Any] | None = None

    async def run(self, key_id: str, name: str, body: bytes) -> Answered:
        """See `Lines.run`."""
        try:
            if self._handle is None:
                app = self._app or serve.get_replica_context().app_name
                self._handle = serve.get_app_handle(app).options(method_name=RUN_LINE)
            answered: Answered = await self._handle.remote(key_id, name, body)
        except (RayError, RayServeException) as error:
            raise Unreachable(str(error)) from error
        return answered


class BatchWorker:
    """Works through the batches that gateways enter. `files`: where they and their files lie."""

    async def __init__(self, catalog: Catalog, files: str, gateway: str) -> None:  # type: ignore[misc]  # Serve awaits it
        """Raises `StoreFailed`."""
        objects = open_objects(files)
        slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        around = Surroundings(
            Book(objects),
            FileStore(objects, now_ms),
            GatewayLines(gateway),
            partial(served_name, catalog),
            slots.__getitem__,
            now_ms,
        )
        self._work = asyncio.create_task(Worker(around, Shift(objects, now_ms)).run(), name="batch worker")

    async def check_health(self) -> None:
        """Called by Serve; what it raises is in Serve's status."""
        if self._work.done():
            raise RuntimeError("the batch worker has ended") from self._work.exception()

    async def __del__(self) -> None:
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)


def served_name(catalog: Catalog, name: str) -> str | None:
    """The one name of the model that answers to `name`."""
    card = catalog.find(name)
    return card.served_name if card else None


def now_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000
