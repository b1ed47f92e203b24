"""Supervision, on real processes: a few lines of `http.server` play the engine, under the real guard."""

import asyncio
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deployments.engines.launch import Launch
from deployments.engines.server import EngineDied, EngineServer, Patience
from deployments.guard import descendants

PATIENCE = Patience(start_s=20.0, stop_s=5.0, health_s=2.0, poll_s=0.02, look_s=0.02, backoff_s=(0.01, 0.01))

ENGINE = """
import http.server, os, sys, pathlib, time
port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
if (folder / "broken").exists():
    sys.exit("CUDA out of memory")
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if (folder / "hungry").exists():
            self.eaten = b"x" * (300 << 20)
            time.sleep(60)
        self.send_response(503 if (folder / "sick").exists() else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
variables = [os.environ.get(name) for name in ("ENGINE_TOKEN", "RAY_ADDRESS", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN")]
print("weights loaded", *variables, os.environ["ENGINE_FOLDER"], flush=True)
(folder / "starts").open("a").write("x")
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


# `EngineServer` leaves the pipes of a server that it replaces to the garbage collector.
restarts = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(condition: Callable[[], object]) -> None:
    """Wait for another process, within bounds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EngineServer]:
    port = free_port()
    command = (sys.executable, "-c", ENGINE, str(port), str(tmp_path))
    made = EngineServer(Launch(command, {"ENGINE_TOKEN": "t"}), f"http://127.0.0.1:{port}", PATIENCE)
    yield made
    await made.stop()
    if made._process:
        made._process.__exit__(None, None, None)  # closes its pipes, which `stop` leaves to the garbage collector


def mode_of(folder: Path) -> int | None:
    """None if it is not there."""
    return stat.S_IMODE(folder.stat().st_mode) if folder.exists() else None


def engine_of(server: EngineServer) -> list[int]:
    """The engine's processes: all that is below its guard."""
    return list(descendants(server._process.pid)) if server._process else []


def kill(server: EngineServer) -> None:
    for pid in engine_of(server):
        os.kill(pid, signal.SIGKILL)


async def test_a_started_server_answers(server: EngineServer):
    """`start` returns when it is ready, not before."""
    await server.start()
    assert server.ready
    assert len(engine_of(server)) == 1
    await server.check()


async def test_the_last_words_are_in_the_error(server: EngineServer, tmp_path: Path):
    """An engine that ends at once says why, and so do we."""
    (tmp_path / "broken").touch()
    with pytest.raises(EngineDied, match="CUDA out of memory") as died:
        await server.start()
    assert "ended with status 1" in str(died.value)
    assert not server.ready


async def test_a_server_that_does_not_become_ready_is_ended(server: EngineServer, tmp_path: Path):
    """After the time it was given; nothing of it is left."""
    (tmp_path / "sick").touch()
    server._patience = Patience(start_s=1.0, stop_s=5.0, health_s=2.0, poll_s=0.02)
    with pytest.raises(EngineDied, match="not ready within 1 s"):
        await server.start()
    assert engine_of(server) == []


@restarts
async def test_a_server_that_is_killed_is_started_again(server: EngineServer, tmp_path: Path):
    """At the same URL; meanwhile it is not ready, and that is no reason to replace the replica."""
    await server.start()
    supervisor = asyncio.create_task(server.supervise(lambda: False))
    kill(server)
    await until(lambda: not server.ready)
    await server.check()
    await until(lambda: server.ready)
    assert (tmp_path / "starts").read_text() == "xx"
    await server.check()
    supervisor.cancel()


@restarts
async def test_supervision_ends_after_as_many_failures_as_backoffs(server: EngineServer, tmp_path: Path):
    """Then the health check fails, with the engine's last words, and Serve replaces the replica."""
    await server.start()
    (tmp_path / "broken").touch()
    kill(server)
    await asyncio.wait_for(server.supervise(lambda: False), 20)
    with pytest.raises(EngineDied, match=r"(?s)could not be restarted in 2 tries.*CUDA out of memory"):
        await server.check()


async def test_a_server_that_hangs_is_unhealthy(server: EngineServer, tmp_path: Path):
    """It runs, but does not answer: only a new replica helps."""
    await server.start()
    (tmp_path / "sick").touch()
    with pytest.raises(EngineDied, match="does not answer"):
        await server.check()


@restarts
async def test_a_server_that_says_that_it_is_not_well_is_started_again(server: EngineServer, tmp_path: Path):
    """Its engine has died, and it goes on to refuse everything: nobody waits until Serve has replaced the replica."""
    deaths: list[str] = []
    server._died = deaths.append
    await server.start()
    supervisor = asyncio.create_task(server.supervise(lambda: False))
    (tmp_path / "sick").touch()
    await until(lambda: not server.ready)
    (tmp_path / "sick").unlink()
    await until(lambda: server.ready)
    assert deaths == ["unwell"]
    assert (tmp_path / "starts").read_text() == "xx"
    supervisor.cancel()


@restarts
async def test_a_server_that_holds_too_much_memory_is_ended_and_started_again(
    server: EngineServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Before its machine has none left; the log says why."""
    caplog.set_level(logging.INFO)
    deaths: list[str] = []
    server._died = deaths.append
    server._memory_bytes_max = 200 * 2**20
    await server.start()
    supervisor = asyncio.create_task(server.supervise(lambda: False))
    (tmp_path / "hungry").touch()
    await until(lambda: not server.ready)
    (tmp_path / "hungry").unlink()
    await until(lambda: server.ready)
    assert deaths == ["memory"]
    assert "died (memory)" in caplog.text
    assert "guard: ended, for its processes held" in caplog.text
    supervisor.cancel()


async def test_stop_leaves_no_process(server: EngineServer):
    """Neither the engine nor its guard; a second stop does nothing."""
    await server.start()
    guard, engine = server._process.pid, engine_of(server)
    await server.stop()
    await server.stop()
    assert not server.ready
    for pid in (guard, *engine):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_the_engine_inherits_neither_our_ray_nor_our_secrets(
    server: EngineServer, monkeypatch: pytest.MonkeyPatch
):
    """Its environment is what `inherited.py` lets through, and what its launch adds."""
    for name in ("RAY_ADDRESS", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "ours")
    await server.start()
    await until(lambda: server._last_words)
    assert server._last_words[0].split(" ")[:-1] == ["weights", "loaded", "t", "None", "None", "None"]


async def test_the_engine_has_a_folder_that_only_its_owner_enters(server: EngineServer):
    """For its sockets; it ends with the server."""
    await server.start()
    await until(lambda: server._last_words)
    folder = Path(server._last_words[0].split(" ")[-1])
    assert mode_of(folder) == 0o700
    await server.stop()
    assert mode_of(folder) is None
