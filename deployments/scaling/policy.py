"""Serve's side of autoscaling: how many replicas a model has, asked of the governor and never waited for.

Serve calls this in its controller's own loop, ten times a second, for every model: what blocks here stops all of Serve, and
what raises leaves later applications alone for the tick. Serve pickles this module by value.
"""

import logging
import math
import time
from typing import Any

from ray.serve.config import AutoscalingContext

from deployments.scaling.exchange import Exchange
from deployments.scaling.replicas import Serving

logger = logging.getLogger("ray.serve.deployments.scaling.policy")

EVERY_S = 1.0
# So long the last answer counts.
SILENT_S = 30.0
# Without a governor, a replica is given back after so long with less to do.
QUIET_S = 600.0


class ScalingPolicy:
    """A model's replicas: as the governor says, or, where it has been silent, as Serve's own rule would.

    Class policies are rebuilt at each deploy and controller restart, so it is right from its first answer on.
    """

    def __init__(self, model: str, exchange: Exchange | None = None) -> None:
        self._model = model
        self._exchange = exchange or Exchange()
        self._answer: int | None = None
        self._answered_s = -math.inf
        self._asked_s = -math.inf
        self._busy_s: float | None = None
        self._trouble = ""

    def __call__(self, ctx: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Returns replicas, and why. Never raises: Serve holds what it has."""
        try:
            return self._replicas(ctx, time.monotonic())
        except Exception as error:  # noqa: BLE001  # see above: no error of ours may stop Serve
            self._say(type(error).__name__)
            return ctx.target_num_replicas, {"reason": f"held: {type(error).__name__}"}

    def _say(self, trouble: str) -> None:
        """Once, not ten times a second."""
        if trouble != self._trouble:
            logger.warning("%s: no decision, so nothing changes: %s", self._model, trouble or "over")
        self._trouble = trouble

    def _replicas(self, ctx: AutoscalingContext, now_s: float) -> tuple[int, dict[str, Any]]:
        if (answer := self._exchange.answer(now_s)) is not None:
            self._answer, self._answered_s = answer, now_s
            self._say("")
        if now_s - self._asked_s >= EVERY_S and self._exchange.ask(self._model, _serving(ctx), now_s):
            self._asked_s = now_s
        if self._answer is not None and now_s - self._answered_s <= SILENT_S:
            self._busy_s = None
            return self._answer, {"reason": "the governor's decision"}
        return self._alone(ctx, now_s), {"reason": "no governor answers: requests at once, by the card's target"}

    def _alone(self, ctx: AutoscalingContext, now_s: float) -> int:
        """Up at once, down by one after a long while with less to do."""
        wanted: int = math.ceil(ctx.total_num_requests / ctx.config.get_target_ongoing_requests())
        target: int = ctx.target_num_replicas
        if self._busy_s is None or wanted >= target:
            self._busy_s = now_s
        if now_s - self._busy_s < QUIET_S:
            return max(wanted, target)
        self._busy_s = now_s
        return target - 1


def _serving(ctx: AutoscalingContext) -> Serving:
    return Serving(
        tuple(replica.to_full_id_str() for replica in ctx.running_replicas),
        ctx.target_num_replicas,
        ctx.capacity_adjusted_min_replicas,
        ctx.capacity_adjusted_max_replicas,
    )
