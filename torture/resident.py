"""A process that is started again whenever it is killed."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from accounting.failpoint import arm

# A process is a fork of one that has imported everything: starting it costs milliseconds, not seconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", "torture.gateway", "torture.writer", "torture.engine"])
STOP_PATIENCE_S = 15.0

Main = Callable[..., Coroutine[Any, Any, None]]


class Resident:
    """`main(*arguments)` in a process of its own, whose log is `log`. `kills` counts its violent deaths."""

    def __init__(self, main: Main, *arguments: Any, log: Path) -> None:
        self._main = main
        self._arguments = arguments
        self._log = log
        self._process: ForkServerProcess | None = None
        self._ended = asyncio.Event()
        self._leaving = False
        self.kills = 0
        self.crashed = False

    def start(self, failpoint: str | None = None) -> None:
        """Start it, to die at `failpoint`; from then on it is started again without one."""
        self._leaving = False
        self._ended.clear()
        process = FORKS.Process(target=_live, args=(self._main, self._arguments, failpoint, self._log), daemon=True)
        process.start()
        self._process = process
        asyncio.get_running_loop().add_reader(process.sentinel, self._has_ended, process)

    async def stop(self, signal_number: signal.Signals = signal.SIGKILL) -> None:
        """End it for good."""
        self._leaving = True
        if self._process is None or self._ended.is_set():
            return
        assert self._process.pid
        os.kill(self._process.pid, signal_number)
        try:
            async with asyncio.timeout(STOP_PATIENCE_S):
                await self._ended.wait()
        except TimeoutError:
            self.crashed = True  # it should have
            self._process.kill()
            await self._ended.wait()

    def _has_ended(self, process: ForkServerProcess) -> None:
        asyncio.get_running_loop().remove_reader(process.sentinel)
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        process.close()
        if self._leaving:
            self._ended.set()
            return
        self.kills += killed
        self.crashed |= not killed
        self.start()


def _live(main: Main, arguments: tuple[Any, ...], failpoint: str | None, log: Path) -> None:
    arm(failpoint)
    # Its warnings belong to its log: a connection that broke is what this is about.
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    asyncio.run(_until_orphaned(main(*arguments)))


async def _until_orphaned(work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and do not outlive the harness: it may be killed, too."""
    harness = multiprocessing.parent_process()
    assert harness
    asyncio.get_running_loop().add_reader(harness.sentinel, os._exit, 1)
    await work
