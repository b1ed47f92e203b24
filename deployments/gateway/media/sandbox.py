"""Decoding in processes of their own: images, PDFs and videos are read by large C libraries, and their work has no bound.

Whatever a file makes its reader do, it can use a bounded time and memory, and the gateway's own process, its memory and
its interpreter's lock have no part in it.
"""

import asyncio
import json
import os
import subprocess
import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from deployments.gateway.media.allowance import Effort
from deployments.gateway.media.fault import Fault
from deployments.gateway.media.turns import Turns

# Answers: what was found, and the things themselves in base64.
Answer = tuple[dict[str, Any], list[bytes]]


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """`processes_max`: at once, of which a tenant has two; the other limits are one file's."""

    processes_max: int = 3
    timeout_s: float = 30.0
    cpu_s_max: int = 10
    memory_bytes_max: int = 1536 * 2**20
    answer_bytes_max: int = 64 * 2**20


class Sandbox:
    """Has files read by a module that is a program (`reader.py`), a few at once, in turns by tenant.

    A process that has read a file of a `kept` module reads the next one, too: its start would take longer than most images.
    """

    def __init__(self, limits: SandboxLimits, kept: frozenset[str] = frozenset()) -> None:
        self._limits = limits
        self._kept = kept
        self._turns = Turns(limits.processes_max)
        self._idle: dict[str, list[ReaderProcess]] = defaultdict(list)
        self._threads = ThreadPoolExecutor(limits.processes_max, thread_name_prefix="sandbox")
        self._end = weakref.finalize(self, _end, self._idle, self._threads)

    def close(self) -> None:
        """End the processes that wait for a next file. It happens by itself when nobody has the sandbox any more."""
        self._end()

    async def read(self, module: str, data: bytes, effort: Effort, **settings: Any) -> Answer:
        """What `module` found in the file, and the lines of base64. Raises `Fault`."""
        async with self._turns.turn(effort.tenant):
            with effort.counted():
                process = self._idle_one(module) or ReaderProcess(module, self._limits)
                found, things = await self._read(process, data, settings, keep=module in self._kept)
                if module in self._kept:
                    self._idle[module].append(process)
        if "code" in found:
            raise Fault(found["code"], found["message"])
        return found, things

    def _idle_one(self, module: str) -> "ReaderProcess | None":
        """One that waits, and is still there: a system that runs out of memory ends what it likes."""
        while self._idle[module]:
            process = self._idle[module].pop()
            if process.is_alive:
                return process
            process.end()
        return None

    async def _read(self, process: "ReaderProcess", data: bytes, settings: dict[str, Any], *, keep: bool) -> Answer:
        """In a thread, which does nothing but wait. A process that does not answer, or is not waited for, is ended."""
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._threads, partial(process.read, data, settings, keep=keep))
        job.add_done_callback(lambda job: job.exception())  # it may be that nobody asks for it
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await asyncio.shield(job)
        except (OSError, ValueError) as error:  # a timeout is an `OSError`, too
            raise Fault(
                "image_parse_error", "it is damaged, or takes too much time or memory to read. Send a simpler one"
            ) from error
        finally:
            if not job.done():
                process.kill()
                await asyncio.wait([job])


class ReaderProcess:
    """A reader's process, from its first file on. Its methods block, except `kill`."""

    def __init__(self, module: str, limits: SandboxLimits) -> None:
        self._module = module
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def read(self, data: bytes, settings: dict[str, Any], *, keep: bool) -> Answer:
        """Send a file, and wait for the answer. Raises `OSError` or `ValueError` where there is none that makes sense; the
        process has ended then, and where it is not to be kept.
        """
        kept = False
        try:
            found, *things = self._answered(data, settings)
            answer = json.loads(found), things
            kept = keep
        finally:
            if not kept:
                self.end()
        return answer

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Let whoever reads from it find out that it has ended."""
        self._killed = True
        if self._process:
            self._process.kill()

    def end(self) -> None:
        """Leave nothing of it behind."""
        if self._process:
            self._process.kill()
            with suppress(BrokenPipeError):  # of what it has not read
                self._process.communicate()

    def _answered(self, data: bytes, settings: dict[str, Any]) -> Iterator[bytes]:
        """The lines of the answer; an empty one is its end."""
        self._process = self._process or self._started()
        if self._killed:
            raise BrokenPipeError
        assert self._process.stdin
        assert self._process.stdout
        head = settings | {"bytes": len(data), "cpu_s_max": self._limits.cpu_s_max}
        self._process.stdin.write(json.dumps(head).encode() + b"\n")
        self._process.stdin.write(data)
        self._process.stdin.flush()
        left = self._limits.answer_bytes_max
        while (line := self._process.stdout.readline(left)) != b"\n":
            left -= len(line)
            if not left or not line.endswith(b"\n"):  # it met a limit, or crashed
                raise BrokenPipeError
            yield line.rstrip(b"\n")

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", self._module, str(self._limits.memory_bytes_max)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )


def _end(idle: dict[str, list[ReaderProcess]], threads: ThreadPoolExecutor) -> None:
    for process in chain.from_iterable(idle.values()):
        process.end()
    threads.shutdown(wait=False)
