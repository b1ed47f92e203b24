"""Why each model has as many replicas as it has: the decisions of the autoscaler, row by row."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any

from pydantic import Field

from accounting.money import usd
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.errors import BadRequest, ScalingUnavailable
from deployments.gateway.form import Form, UnixSeconds, read_query
from deployments.scaling.messenger import Messenger, NoGovernor

# Rows of a model, or the latest of each: see `Governor.explain`. Raises `ScalingUnavailable`.
Explain = Callable[[str | None, float | None, int], Awaitable[dict[str, Any]]]


class ScalingQuery(Form):
    """`at` is in seconds: rows until then, the newest first. Without a model: the latest row of each."""

    model: str | None = None
    at: UnixSeconds | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 20


async def nobody(model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
    """An `Explain` where nothing is scaled."""
    raise ScalingUnavailable


async def unscaled(model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
    """An `Explain` of a fleet without an autoscaler: nothing was ever decided."""
    return {"rows": [], "starts": []}


def explain_by(messenger: Messenger) -> Explain:
    """An `Explain` that asks the governor."""

    async def explain(model: str | None, at_s: float | None, limit: int) -> dict[str, Any]:
        try:
            return await messenger.explain(model, at_s, limit)
        except NoGovernor as error:
            raise ScalingUnavailable from error

    return explain


class Scaling:
    """Asked of the governor, which keeps rows in memory."""

    def __init__(self, explain: Explain) -> None:
        self._explain = explain

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "GET", "/scaling", self.rows

    async def rows(self, call: Call) -> dict[str, Any]:
        """The newest first; with a model, its last starts by stage as well."""
        asked = read_query(ScalingQuery, call.query)
        if asked.at is not None and asked.model is None:
            raise BadRequest("'at' needs a 'model'.", param="model")
        found = await self._explain(asked.model, asked.at and float(asked.at + 1), asked.limit)
        return {
            "object": "list",
            "data": [row_object(row) for row in found["rows"]],
            "starts": [start_object(start) for start in found["starts"]],
        }


def row_object(row: dict[str, Any]) -> dict[str, Any]:
    """One decision: what was known, its terms, and why."""
    return {
        "object": "scaling.decision",
        "at": int(row["at_s"]),
        "model": row["model"],
        "replicas": row["answer"]["replicas"],
        "want": row["answer"]["want"],
        "running": row["facts"]["running"],
        "starting": row["facts"]["pending"],
        "granted": row["facts"]["granted"],
        "words": row["words"],
        "policy": row["policy"],
        "config": row["config"],
        "facts": row["facts"],
        "terms": row["answer"],
        "competitors": list(row["competitors"]),
        "hourly_before_usd": usd(row["hourly_before_nano_usd"]),
        "hourly_after_usd": usd(row["hourly_after_nano_usd"]),
    }


def start_object(start: dict[str, Any]) -> dict[str, Any]:
    """One start, from its order to the replica running; stages are None where they were not told."""
    stages = {name: start[name] for name in ("total_s", "environment_s", "weights_s", "ready_s")}
    rounded = {name: None if value is None else round(value, 2) for name, value in stages.items()}
    return {"object": "scaling.start", "at": int(start["at_s"])} | rounded
