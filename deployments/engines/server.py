"""Supervising an engine's own server: start, wait until ready, pump its log, restart it when it dies, stop it."""

import asyncio
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from deployments.engines.inherited import inherited
from deployments.engines.launch import Launch
from deployments.guard import MEMORY_STATUS, guarded
from deployments.log import logger_for

logger = logger_for(__name__)

LAST_WORDS_LINES = 40
# One look may meet a moment.
LOOKS_UNWELL_MAX = 2


class EngineDied(Exception):
    """The engine server ended or never became ready. The message ends with its last words."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for an engine, in seconds, and how often to try again."""

    start_s: float = 1800.0
    stop_s: float = 15.0
    health_s: float = 5.0
    poll_s: float = 0.25
    look_s: float = 2.0
    backoff_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)


class EngineServer:
    """One engine server at a time, always at the same URL, restarted with backoff while `supervise` runs.

    Its life is tied to ours by `deployments/guard.py`: no engine is left behind, however this process ends.
    """

    def __init__(
        self,
        launch: Launch,
        url: str,
        patience: Patience = Patience(),
        changed: Callable[[], None] = lambda: None,
        died: Callable[[str], None] = lambda reason: None,
        memory_bytes_max: int = 0,
    ) -> None:
        """`changed` is called whenever `epoch` or `ready` has changed, `died` whenever a server that was ready ended: "memory"
        (it held more than `memory_bytes_max`, if that is not 0), "unwell" (it ran on, and said so), or "ended".
        """
        self.url = url
        self.ready = False
        self.epoch = ""  # names one life of the server; its counters begin at zero in each
        self._changed = changed
        self._died = died
        self._memory_bytes_max = memory_bytes_max
        self._launch = launch
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._forget_folder: Callable[[], object] = lambda: None
        self._last_words: deque[str] = deque(maxlen=LAST_WORDS_LINES)
        self._failures = 0
        self._looked_s = 0.0
        self._looks_unwell = 0

    @property
    def pid(self) -> int | None:
        """Of the guard, above all processes of the engine; None before the first start."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the server and wait until it is ready. Raises `EngineDied`."""
        self._last_words.clear()
        self.epoch = secrets.token_hex(8)
        self._changed()
        self._process = self._spawn()
        threading.Thread(target=self._pump, args=(self._process,), daemon=True).start()
        try:
            async with asyncio.timeout(self._patience.start_s):
                while not await self._answers():
                    if self._process.poll() is not None:
                        raise EngineDied(self._epitaph(f"ended with status {self._process.returncode}"))
                    await asyncio.sleep(self._patience.poll_s)
        except TimeoutError:
            await self.stop()
            raise EngineDied(self._epitaph(f"was not ready within {self._patience.start_s:.0f} s")) from None
        self._be_ready(True)

    async def supervise(self, stopped: Callable[[], bool]) -> None:
        """Restart the server whenever it ends or says that it is not well, until `stopped`. Gives up after as many failed
        starts as backoffs.
        """
        while not stopped() and self._failures < len(self._patience.backoff_s):
            await asyncio.sleep(self._patience.poll_s)
            reason = self._ended() or await self._unwell()
            if not reason:
                continue
            if stopped():
                return
            if self.ready:
                self._died(reason)
            await self.stop()
            logger.error("%s", self._epitaph(f"died ({reason})"))
            await asyncio.sleep(self._patience.backoff_s[self._failures])
            try:
                await self.start()
                self._failures = 0
            except EngineDied as error:
                self._failures += 1
                logger.error("%s", error)

    async def check(self) -> None:
        """Raise `EngineDied` if the server cannot be restarted any more, or runs and does not answer."""
        if self._failures >= len(self._patience.backoff_s):
            raise EngineDied(self._epitaph(f"could not be restarted in {self._failures} tries"))
        if self.ready and not await self._answers() and self._process and self._process.poll() is None:
            raise EngineDied(self._epitaph("runs, but does not answer /health"))

    async def stop(self) -> None:
        """End the server and everything it started; gracefully first."""
        self._be_ready(False)
        process = self._process
        if process is not None:
            if process.poll() is None:
                process.terminate()
                await asyncio.to_thread(process.wait)
            _let_go(process)
        self._forget_folder()

    def _ended(self) -> str:
        """Why there is no server any more; empty while there is one."""
        if self._process and self._process.poll() is None:
            return ""
        return "memory" if self._process and self._process.returncode == MEMORY_STATUS else "ended"

    async def _unwell(self) -> str:
        """A server whose engine has died may go on to say so on `/health`, and to refuse all. That it does not answer at all
        may pass: Serve looks for that.
        """
        now_s = time.monotonic()
        if now_s < self._looked_s + self._patience.look_s:
            return ""
        self._looked_s = now_s
        self._looks_unwell = self._looks_unwell + 1 if await self._health() not in (200, None) else 0
        return "unwell" if self._looks_unwell >= LOOKS_UNWELL_MAX else ""

    def _be_ready(self, ready: bool) -> None:
        self.ready = ready
        self._changed()

    def _spawn(self) -> subprocess.Popen[bytes]:
        """The server's guard. Raises `EngineDied` if the machine has no room for another process."""
        try:
            return subprocess.Popen(
                guarded(list(self._launch.command), self._patience.stop_s, self._memory_bytes_max),
                env=self._environment(),
                stdin=subprocess.PIPE,  # the guard's lifeline; nothing is ever written
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineDied(self._epitaph(f"could not be started: {error}")) from error

    def _environment(self) -> dict[str, str]:
        """`ENGINE_FOLDER`: for its sockets; of mode 0700, and gone when the server is."""
        self._forget_folder()
        folder = tempfile.mkdtemp(prefix="engine-")
        self._forget_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        ours = inherited(os.environ, hub=self._launch.hub)
        return ours | self._launch.environment | {"ENGINE_FOLDER": folder}

    async def _answers(self) -> bool:
        return await self._health() == 200

    async def _health(self) -> int | None:
        """The status of its `/health`; None if it does not answer."""
        timeout = aiohttp.ClientTimeout(total=self._patience.health_s)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{self.url}/health") as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Carry the server's output into our log, line by line, on a thread of its own."""
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                text = line.decode("utf-8", "replace").rstrip()
                self._last_words.append(text)
                logger.info("engine: %s", text)

    def _epitaph(self, what: str) -> str:
        words = "\n".join(self._last_words) or "(it said nothing)"
        return f"the engine server {what}. Its last words:\n{words}"


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Close our end of an ended guard's lifeline."""
    if process.stdin:
        process.stdin.close()
