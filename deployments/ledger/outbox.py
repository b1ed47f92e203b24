"""What a gateway has sent to the ledger's writer and was not answered yet, within bounds. Pure.

A command is the client's until it is acknowledged. Where the store fails it, it is sent again, in one of two ways:

    kept        posts, voids, refunds, first bytes and samples: until the store takes them, however long that is
    perishable  all others, whose sender waits for their reply: until nobody can be waiting any more

So many wait at most; beyond that a perishable command is not taken, and one that is kept still is.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accounting.command import Command, FirstByte, Hold, Post, Refund, Sample, Void

# So many commands, or bytes of them, wait at most: what a writer that was away takes in a second or two.
WAITING_MAX = 4_096
WAITING_BYTES_MAX = 64 * 2**20

KEPT = (Post, Void, Refund, FirstByte, Sample)
# For how long a command's sender waits: `HOLD_ACK_S` of a bill, `ANSWER_S` of a desk.
HOLD_PATIENCE_S = 2.0
PATIENCE_S = 30.0
# A hold is open for 630 s at most. Whatever the store still refuses to end then has expired: it is given up if the store
# takes other commands, because then the fault is its own.
KEPT_S = 660.0


@dataclass(slots=True)
class Sent:
    """A question (`command` is None) or a command on its way. `others`: how many had been acknowledged when it failed last."""

    number: int
    line: bytes
    future: asyncio.Future[Any]
    sent_at_s: float
    command: Command | None = None
    failed: bool = False
    others: int = 0

    @property
    def is_kept(self) -> bool:
        return isinstance(self.command, KEPT)

    @property
    def patience_s(self) -> float:
        return HOLD_PATIENCE_S if isinstance(self.command, Hold) else PATIENCE_S


class Outbox:
    """In order of sending."""

    def __init__(self) -> None:
        self._waiting: dict[int, Sent] = {}
        self._bytes = 0
        self._acknowledged = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Sent]:
        return iter(list(self._waiting.values()))

    def get(self, number: int) -> Sent | None:
        return self._waiting.get(number)

    def has_room(self, command: Command) -> bool:
        """Whether this one may be added. What ends a hold always may."""
        return isinstance(command, KEPT) or (len(self._waiting) < WAITING_MAX and self._bytes < WAITING_BYTES_MAX)

    def add(self, sent: Sent) -> None:
        self._waiting[sent.number] = sent
        self._bytes += len(sent.line)

    def remove(self, number: int) -> None:
        """Also one that is not there."""
        if sent := self._waiting.pop(number, None):
            self._bytes -= len(sent.line)

    def acknowledge(self, number: int) -> None:
        """The store has taken it."""
        self.remove(number)
        self._acknowledged += 1

    def fail(self, sent: Sent, now_s: float) -> bool:
        """The store has failed it. Whether that was for good: it is not sent again."""
        if not sent.is_kept:
            return now_s - sent.sent_at_s >= sent.patience_s
        is_its_own_fault = sent.failed and self._acknowledged > sent.others
        sent.failed, sent.others = True, self._acknowledged
        return is_its_own_fault and now_s - sent.sent_at_s >= KEPT_S
