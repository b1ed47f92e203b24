"""Places where a process can be told to die, to see what it leaves behind. Unarmed, passing one costs a comparison.

`VLMFLEET_FAILPOINT=post.acked:3` makes a process kill itself, as `kill -9` would, when it passes `post.acked` for the third time;
with `post.acked:3:2.5` it hangs there for 2.5 s before. `python -m torture` arms them one after the other.
"""

import os
import signal
import time
from itertools import count

VARIABLE = "VLMFLEET_FAILPOINT"


class _Armed:
    """The one failpoint at which this process dies."""

    def __init__(self, spec: str) -> None:
        self._name, passing, *hang_s = spec.split(":")
        self._passing = int(passing)
        self._hang_s = float(hang_s[0]) if hang_s else 0.0
        self._passings = count(1)

    def passed(self, name: str) -> None:
        if name == self._name and next(self._passings) == self._passing:
            time.sleep(self._hang_s)
            os.kill(os.getpid(), signal.SIGKILL)


def failpoint(name: str) -> None:
    """Die here, if this is the place."""
    if _armed is not None:
        _armed.passed(name)


def arm(spec: str | None) -> None:
    """Die at `spec`, a name and which passing of it: "post.acked:3", and after how long a hang. None: live on."""
    global _armed  # noqa: PLW0603  # a process dies once, and wherever it is
    _armed = _Armed(spec) if spec else None


_armed: _Armed | None = None
arm(os.environ.get(VARIABLE))
