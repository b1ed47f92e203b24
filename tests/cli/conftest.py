"""The command line against a real gateway behind a real server, on loopback."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import uvicorn

from cli.main import main
from deployments.gateway.admin.scaling import Explain, unscaled
from tests.gateway.house import House, running_house

T = TypeVar("T")
Vlmfleet = Callable[..., "Ran"]


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


@dataclass(frozen=True)
class Fleet:
    """A house on a thread of its own."""

    house: House
    url: str
    loop: asyncio.AbstractEventLoop

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the house's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@pytest.fixture
def vlmfleet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Vlmfleet:
    """Run a command line, as a shell does: `vlmfleet("keys", "list")`."""
    monkeypatch.setenv("VLMFLEET_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")

    def run(*words: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["vlmfleet", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def explain() -> Explain:
    """Who explains the fleet's decisions."""
    return unscaled


@pytest.fixture
def fleet(tmp_path: Path, explain: Explain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A fleet that the environment names, with its admin key."""
    running: list[Fleet] = []
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    ready = threading.Event()

    async def live() -> None:
        async with running_house(tmp_path, explain=explain) as house:
            server = uvicorn.Server(uvicorn.Config(house.app, log_config=None, lifespan="off"))
            running.append(Fleet(house, f"http://{host}:{port}", asyncio.get_running_loop()))
            servers.append(server)
            ready.set()
            await server.serve([listening])

    servers: list[uvicorn.Server] = []
    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert ready.wait(30)
    monkeypatch.setenv("VLMFLEET_URL", running[0].url)
    monkeypatch.setenv("VLMFLEET_ADMIN_KEY", running[0].house.admin_key)
    yield running[0]
    servers[0].should_exit = True
    thread.join(30)
