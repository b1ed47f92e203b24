"""The fleet that is killed: what `vlmfleet run` starts, its engines played, and a second node."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from accounting.stores import open_reader
from catalog import load_catalog
from deployments.guard import guarded
from deployments.port import free_port
from torture.deaths import engine, process
from torture.deaths.victim import Victim

CHECKOUT = Path(__file__).parents[2]
HOST = "127.0.0.1"
MODELS = ("demo-qwen2-vl", "demo-internvl2")
# Short, because a hold of a gateway that died is open so long, and half a minute more.
DEADLINE_S = 20
START_S = 300.0
GRACE_S = 30.0
POLL_S = 0.2
# An expired hold is voided within a second, if the ledger runs.
SWEPT_WITHIN_S = 15.0


class NotReady(Exception):
    """The fleet did not start. The message says where its log is."""


@dataclass(slots=True)
class House:
    """`head` and `worker` are the guards of the two nodes' processes."""

    folder: Path
    port: int
    head: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def key(self) -> str:
        return (self.folder / "key").read_text().strip()

    def pids(self, victim: Victim) -> set[int]:
        """Its processes that live now."""
        guards = {"head": self.head, "worker": self.worker}
        return set().union(
            *(
                process.below(guard.pid, victim.words)
                for node, guard in guards.items()
                if guard and victim.node in (node, None)
            )
        )

    async def decided_s(self, http: aiohttp.ClientSession) -> dict[str, float]:
        """When the last decision about each model was made, Unix time. Raises `ClientError` if nobody tells."""
        headers = {"authorization": f"Bearer {(self.folder / 'admin-key').read_text().strip()}"}
        async with http.get(f"{self.url}/v1/admin/scaling", headers=headers, raise_for_status=True) as response:
            return {row["model"]: row["at"] for row in (await response.json())["data"]}

    def overdue_holds(self) -> int:
        """Open although their time is over, and the time of those who should have seen it."""
        due_ms = (time.time() - SWEPT_WITHIN_S) * 1000
        return self._count("SELECT count(*) FROM hold WHERE state = 'open' AND expires_at_ms < ?", due_ms)

    def open_holds(self) -> int:
        return self._count("SELECT count(*) FROM hold WHERE state = 'open'")

    def ledger_faults(self) -> list[str]:
        """Invariants that do not hold."""
        with closing(open_reader(str(self.folder / "ledger.db"), lambda: time.time_ns() // 1_000_000)) as store:
            return [f"{fault.check}: {fault.detail}" for fault in store.verify()]

    async def keep_a_worker(self) -> None:
        """Until cancelled: whenever the second node has no raylet any more, another node takes its place, as Kubernetes does."""
        while True:
            await self.ready()
            (cluster,) = process.below(self.head.pid, "deployments.cluster")
            environment = process.variables(cluster)
            address = (Path(environment["RAY_TMPDIR"]) / "address").read_text()
            command = [sys.executable, "-m", "torture.deaths.worker", f"--address={address}"]
            with (self.folder / "worker.log").open("ab") as log, _guarded(command, environment, log.fileno()) as worker:
                self.worker = worker
                had_raylet = False
                while worker.poll() is None:
                    has_raylet = bool(process.below(worker.pid, "raylet/raylet"))
                    if had_raylet and not has_raylet:
                        break
                    had_raylet = has_raylet
                    await asyncio.sleep(POLL_S)

    async def ready(self) -> None:
        """Raises `NotReady`."""
        until_s = time.monotonic() + START_S
        while not (self.folder / "ready").exists():
            if self.head.poll() is not None or time.monotonic() > until_s:
                raise NotReady(f"the fleet did not start; its log is {self.folder / 'log'}")
            await asyncio.sleep(POLL_S)

    def _count(self, question: str, *values: float) -> int:
        with closing(sqlite3.connect(f"file:{self.folder / 'ledger.db'}?mode=ro", uri=True)) as db:
            found: int = db.execute(question, values).fetchone()[0]
            return found


@asynccontextmanager
async def running() -> AsyncIterator[House]:
    """A fleet of its own, gone afterwards with all that belongs to it but its folder. Raises `NotReady`."""
    folder = Path(tempfile.mkdtemp(prefix="torture-fleet-"))
    port = free_port(HOST)
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "deployments.launch", "run-quietly"]
        with _guarded(command, os.environ | _settings(folder, port), log.fileno()) as head:
            house = House(folder, port, head)
            await house.ready()
            worker = asyncio.create_task(house.keep_a_worker())
            try:
                yield house
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)


def _settings(folder: Path, port: int) -> dict[str, str]:
    """Writes what the fleet reads, and says where that is."""
    engines, config = folder / "engines", folder / "serve.yaml"
    catalog = load_catalog()
    for model in MODELS:
        card = catalog.find(model)
        assert card
        engine.play(engines, card)
    served = yaml.safe_load((CHECKOUT / "serve.yaml").read_text())
    served["proxy_location"] = "HeadOnly"  # both nodes are on one machine, and it has one port 8000
    (gateway,) = (application for application in served["applications"] if application["name"] == "gateway")
    gateway["args"]["deadline_s"] = DEADLINE_S
    config.write_text(yaml.safe_dump(served))
    return {
        "VLMFLEET_HOME": str(folder),
        "VLMFLEET_ENGINES": str(engines),
        "VLMFLEET_SERVE_CONFIG": str(config),
        "VLMFLEET_PORT": str(port),
    }


@contextmanager
def _guarded(command: list[str], environment: dict[str, str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    """All that it starts ends with it, and it ends when this does."""
    with subprocess.Popen(
        guarded(command, GRACE_S),
        cwd=CHECKOUT, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
    ) as guard:  # fmt: skip
        try:
            yield guard
        finally:
            guard.terminate()
