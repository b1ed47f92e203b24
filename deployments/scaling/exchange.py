"""One question to the governor at a time, polled: for those who may wait for nothing."""

from collections.abc import Callable
from typing import Any

import ray

from deployments.scaling.locate import find_governor
from deployments.scaling.replicas import Serving

PATIENCE_S = 5.0


class Exchange:
    """`find` returns the governor's handle, None if there is none."""

    def __init__(self, find: Callable[[], Any | None] = find_governor) -> None:
        self._find = find
        self._governor: Any | None = None
        self._asked: Any | None = None
        self._asked_s = 0.0
        self._retry_s = 0.0

    def ask(self, model: str, serving: Serving, now_s: float) -> bool:
        """Whether it was asked: not while another question is open, nor soon after there was nobody to ask."""
        if self._asked is not None or now_s < self._retry_s:
            return False
        governor, self._governor = self._governor or self._find(), None
        if governor is None:
            self._retry_s = now_s + PATIENCE_S
            return False
        self._asked, self._asked_s = governor.decide.remote(model, serving), now_s
        self._governor = governor  # it could be asked
        return True

    def answer(self, now_s: float) -> int | None:
        """What has come, if anything has. Raises what the governor failed by; it is looked up again then."""
        if self._asked is None:
            return None
        ready, _ = ray.wait([self._asked], timeout=0)
        if not ready:
            if now_s - self._asked_s > PATIENCE_S:
                self._asked = self._governor = None
            return None
        asked, self._asked = self._asked, None
        try:
            replicas: int | None = ray.get(asked)
        except Exception:
            self._governor = None
            raise
        return replicas
