"""Reports: who changed what, and what each model cost and earned in a day."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import Field

from accounting import questions
from accounting.gpu_cost import WINDOW_MS, Cost
from accounting.money import usd
from accounting.store import AuditLine
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.desk import Desk
from deployments.gateway.errors import BadRequest
from deployments.gateway.form import Form, UnixSeconds, read_query
from deployments.gateway.gpu import costs_by_model

DAY_MS = 86_400_000
AUDIT_DAYS_DEFAULT = 7


class AuditQuery(Form):
    """Times are seconds; by default the last seven days."""

    start_time: UnixSeconds | None = None
    end_time: UnixSeconds | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class CostQuery(Form):
    """`day`: YYYY-MM-DD, UTC."""

    day: date


class Reports:
    """Read from the audit log, and from the lives of replicas and what ran on them."""

    def __init__(self, desk: Desk, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._now_ms = now_ms

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "GET", "/audit", self.audit
        yield "GET", "/cost", self.cost

    async def audit(self, call: Call) -> dict[str, Any]:
        """The newest first."""
        asked = read_query(AuditQuery, call.query)
        to_ms = self._now_ms() + 1 if asked.end_time is None else asked.end_time * 1000
        from_ms = to_ms - AUDIT_DAYS_DEFAULT * DAY_MS if asked.start_time is None else asked.start_time * 1000
        newest: deque[AuditLine] = deque(maxlen=asked.limit)
        count = 0
        async for lines in self._desk.pages(questions.Audit(from_ms=from_ms, to_ms=to_ms)):
            newest.extend(lines)
            count += len(lines)
        return {
            "object": "list",
            "data": [audit_object(line) for line in reversed(newest)],
            "has_more": count > asked.limit,
        }

    async def cost(self, call: Call) -> dict[str, Any]:
        """Of today: until now."""
        day = read_query(CostQuery, call.query).day
        from_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
        now_ms = self._now_ms() // WINDOW_MS * WINDOW_MS
        if from_ms > now_ms:
            raise BadRequest("'day' has not begun. Days are UTC.", param="day")
        models = await costs_by_model(self._desk, from_ms, min(from_ms + DAY_MS, now_ms))
        return {
            "object": "cost",
            "day": day.isoformat(),
            "data": [{"model": model} | cost_object(models[model]) for model in sorted(models)],
            "total": cost_object(sum(models.values(), Cost())),
        }


def audit_object(line: AuditLine) -> dict[str, Any]:
    """One change. `by` is a key's id, or "operator": the ledger's own start."""
    return {
        "object": "audit",
        "seq": line.seq,
        "at": line.at_ms // 1000,
        "by": line.actor,
        "action": line.action,
        "content": json.loads(line.content),
    }


def cost_object(cost: Cost) -> dict[str, str]:
    """Dollars; `rent = share + idle + cold + waste`, `margin = revenue - rent`."""
    return {
        "rent_usd": usd(cost.rent_nano),
        "share_usd": usd(cost.share_nano),
        "idle_usd": usd(cost.idle_nano),
        "cold_usd": usd(cost.cold_nano),
        "waste_usd": usd(cost.waste_nano),
        "revenue_usd": usd(cost.revenue_nano),
        "margin_usd": usd(cost.margin_nano),
    }
