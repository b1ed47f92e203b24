"""The governor: one small actor that hears gateways, engine replicas and Serve's controller, and decides for all models.

It may die at any time. Signals refill it within seconds; only the season and the rows are on disk. While it is away, each model keeps
the replicas that it has (`policy.py`).
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorAlreadyExistsError, ActorUnavailableError, RayError

from autoscaling.config import Config
from autoscaling.pool import Pool
from autoscaling.row import Row
from autoscaling.season import Season
from deployments.metric import Instruments
from deployments.scaling import metrics
from deployments.scaling.control import Control
from deployments.scaling.history import MINUTE_S, History
from deployments.scaling.journal import Journal
from deployments.scaling.locate import GOVERNOR, NAMESPACE, find_governor
from deployments.scaling.model import Member
from deployments.scaling.replicas import Serving, Stages
from deployments.scaling.report import News, Report
from deployments.scaling.rows import Rows

logger = logging.getLogger("ray.serve.deployments.scaling.governor")

CHECK_S = 10.0
# A governor that is being started again may be away so long: by then Serve's own rule stands in (`policy.py`).
AWAY_S = 30.0
LOOK_AGAIN_S = 0.2
ROWS_FILE = "scaling-rows.jsonl"


class Governor:
    """The actor. Calls come one after the other; whoever comes first after a second has everybody's decision made."""

    def __init__(self, members: Sequence[Member], gpus: Pool | None, config: Config, history: Path) -> None:
        self._history = History(history)
        self._journal = Journal(history.with_name(ROWS_FILE))
        now_s = time.time()
        rows, seasons = self._remembered(now_s)
        self._control = Control(members, gpus, config, now_s, seasons, Rows(rows))
        self._minute = now_s // MINUTE_S
        self._instruments = Instruments(metrics.TABLE)

    def report(self, report: Report) -> dict[str, News]:
        """Of a gateway, once a second."""
        now_s = time.time()
        news = self._control.report(report, now_s)
        self._tick(now_s)
        return news

    def decide(self, model: str, serving: Serving) -> int | None:
        """Asked by Serve's controller, once a second: replicas for this model; None if nothing is known of it yet."""
        now_s = time.time()
        self._control.see(model, serving, now_s)
        self._tick(now_s)
        verdict = self._control.verdict(model)
        return verdict.replicas if verdict else None

    def started(self, model: str, replica: str, stages: Stages) -> None:
        """Told by an engine replica that is ready."""
        self._control.started(model, replica, stages)

    def explain(self, model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        """See `Control.explain`."""
        return self._control.explain(model, at_s, limit)

    def check(self) -> None:
        """It answers, so it lives."""

    def _remembered(self, now_s: float) -> tuple[list[Row], dict[str, Season]]:
        """Rows and seasons of the time before; a disk that cannot be read costs these, and no decision."""
        try:
            return self._journal.read(), self._history.seasons(now_s)
        except OSError as error:
            logger.warning("nothing is known of the time before: %s", type(error).__name__)
            return [], {}

    def _tick(self, now_s: float) -> None:
        if self._control.drains:
            self._control.exist({actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)})
        if not self._control.tick(now_s):
            return
        for row in self._control.rows.latest():
            metrics.tell(row, self._instruments)
        self._keep(now_s)

    def _keep(self, now_s: float) -> None:
        """On disk. A full one costs what would be remembered, and no decision."""
        minute_is_over, self._minute = now_s // MINUTE_S > self._minute, now_s // MINUTE_S
        try:
            self._journal.write(self._control.rows.take_new())
            if minute_is_over:
                self._history.write(now_s, self._control.rates())
        except OSError as error:
            if minute_is_over:
                logger.warning("rows and rates of the last minute are not kept: %s", type(error).__name__)


class Keeper:
    """The Serve deployment of the application `scaling`: the governor lives as long as this does, and starts anew if it
    dies. It is an actor of its own because Serve's controller must be able to call it, and may wait for nobody.
    """

    def __init__(self, members: Sequence[Member], gpus: Pool | None, config: Config, history: Path) -> None:
        self._governor = _appointed(members, gpus, config, history)
        self._answered_s = time.monotonic()

    async def check_health(self) -> None:
        """Called by Serve, which takes an error of Ray's for the death of this very replica."""
        try:
            await asyncio.wait_for(self._governor.check.remote(), CHECK_S)
            self._answered_s = time.monotonic()
        except ActorUnavailableError as error:  # it is being started again
            if time.monotonic() - self._answered_s > AWAY_S:
                raise RuntimeError("the governor does not come back") from error
        except RayError as error:
            raise RuntimeError("the governor has died") from error

    def __del__(self) -> None:
        ray.kill(self._governor)


def _appointed(members: Sequence[Member], gpus: Pool | None, config: Config, history: Path) -> Any:
    """A new governor. One of a Keeper before this one may have the name still: there is one at a time, so it is ended.

    It tries until it can. A start that fails counts against the three after which Serve gives a deployment up for good.
    """
    actor = ray.remote(Governor).options(name=GOVERNOR, namespace=NAMESPACE, num_cpus=0, max_restarts=-1)
    while True:
        try:
            return actor.remote(members, gpus, config, history)
        except ActorAlreadyExistsError:
            if before := find_governor():
                ray.kill(before)
            time.sleep(LOOK_AGAIN_S)
