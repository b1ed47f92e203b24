"""What an engine replica tells of its own start."""

import time
from contextlib import suppress

import ray

from deployments.scaling.locate import find_governor
from deployments.scaling.replicas import Stages


class Stopwatch:
    """Runs while a replica starts."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._located_s = self._began_s

    def weights_are_here(self) -> None:
        self._located_s = time.monotonic()

    def tell(self, model: str) -> None:
        """The engine is ready: the governor is told, if there is one; nobody waits for it."""
        stages = Stages(self._located_s - self._began_s, time.monotonic() - self._located_s)
        with suppress(Exception):  # a start succeeds whatever becomes of its record
            if governor := find_governor():
                governor.started.options(num_returns=0).remote(
                    model, ray.get_runtime_context().get_actor_name(), stages
                )
