"""Reading PDFs and videos in processes of their own: their readers are large C libraries, and their work has no bound.

Whatever such a file makes its reader do, it can use a bounded time and memory, and what it took goes with its process.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deployments.gateway.media.fault import Fault

# A line is an image in base64.
LINE_BYTES_MAX = 64 * 2**20


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Of one process, and how many there are at once."""

    processes_max: int = 2
    timeout_s: float = 30.0
    cpu_s_max: int = 10
    memory_bytes_max: int = 1536 * 2**20
    answer_bytes_max: int = LINE_BYTES_MAX


class Sandbox:
    """Starts a reader's process for every file; a few at once, in turn."""

    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.processes_max)

    async def read(self, module: str, data: bytes, **settings: Any) -> tuple[dict[str, Any], list[bytes]]:
        """What `module` found in the file, and the lines of base64. Raises `Fault`."""
        limits = self._limits
        settings |= {"memory_bytes_max": limits.memory_bytes_max, "cpu_s_max": limits.cpu_s_max}
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, json.dumps(settings)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            try:
                async with asyncio.timeout(limits.timeout_s):
                    answer = await _answer(process, data, limits.answer_bytes_max)
            except TimeoutError as error:
                raise _unreadable() from error
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return _parsed(answer)


async def _answer(process: Process, data: bytes, bytes_max: int) -> bytes:
    feeding = asyncio.create_task(_feed(process, data))
    answer = bytearray()
    try:
        assert process.stdout
        while chunk := await process.stdout.read(2**18):
            answer += chunk
            if len(answer) > bytes_max:
                raise _unreadable()
    finally:
        feeding.cancel()
    if await process.wait() != 0:  # it met a limit, or crashed
        raise _unreadable()
    return bytes(answer)


async def _feed(process: Process, data: bytes) -> None:
    assert process.stdin
    with suppress(ConnectionError):  # it may end before it has read everything
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()


def _parsed(answer: bytes) -> tuple[dict[str, Any], list[bytes]]:
    head, *lines = answer.splitlines()
    found = json.loads(head)
    if "code" in found:
        raise Fault(found["code"], found["message"])
    return found, lines


def _unreadable() -> Fault:
    return Fault("image_parse_error", "it is damaged, or takes too much time or memory to read. Send a simpler one")
