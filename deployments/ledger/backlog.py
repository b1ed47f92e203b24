"""Kept commands that the store has failed: one is tried at a time, ever more rarely, and when it is taken, all are sent."""

import asyncio
from collections import deque
from collections.abc import Callable

from deployments.ledger.outbox import Sent

TRY_AFTER_S = 0.5
TRY_AFTER_S_MAX = 30.0


class Backlog:
    """So a full disk costs one command every 30 seconds, however many wait. What fails while others are taken goes to the end,
    and keeps nobody waiting. `send` writes a command's line, and is False for one that has ended meanwhile.
    """

    def __init__(self, send: Callable[[Sent], bool]) -> None:
        self._send = send
        self._waiting: deque[Sent] = deque()
        self._tried: Sent | None = None
        self._after_s = TRY_AFTER_S
        self._after_s_max = TRY_AFTER_S_MAX
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sent: Sent) -> None:
        """The store has failed it."""
        if sent is self._tried:
            self._tried = None
            self._after_s = min(2 * self._after_s, self._after_s_max)
        self._waiting.append(sent)
        self._try_later()

    def end(self, sent: Sent) -> None:
        """It was taken, or given up."""
        if sent is not self._tried:
            return
        self._tried = None
        self._after_s = TRY_AFTER_S
        others, self._waiting = self._waiting, deque()
        for other in others:
            self._send(other)

    def hasten(self) -> None:
        """Its client is about to hang up, and loses what waits then: the next try is soon, and so are all that follow."""
        self._after_s = self._after_s_max = TRY_AFTER_S
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._try_later()

    def clear(self) -> None:
        """All of them are sent by somebody else."""
        self._waiting.clear()
        self._tried = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _try_later(self) -> None:
        if self._timer is None and self._tried is None:
            self._timer = asyncio.get_running_loop().call_later(self._after_s, self._try)

    def _try(self) -> None:
        self._timer = None
        while self._waiting:
            sent = self._waiting.popleft()
            if self._send(sent):
                self._tried = sent
                return
