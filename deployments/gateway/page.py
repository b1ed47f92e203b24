"""A page of a list, as OpenAI's clients turn it: what comes `after` an id, newest first unless asked otherwise. Pure."""

from collections.abc import AsyncIterator
from typing import Any, Literal

Order = Literal["asc", "desc"]


def ids_after(ids: list[str], after: str | None, order: Order) -> list[str]:
    """The ids that are still to be shown. Ids sort by their age, so one that is gone by now still marks its place."""
    ids = sorted(ids, reverse=order == "desc")
    if after is None:
        return ids
    return [one for one in ids if (one > after if order == "asc" else one < after)]


async def page(objects: AsyncIterator[dict[str, Any]], limit: int) -> dict[str, Any]:
    """The first `limit` of them, and whether there are more."""
    data: list[dict[str, Any]] = []
    has_more = False
    async for one in objects:
        if has_more := len(data) == limit:
            break
        data.append(one)
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": ends[0], "last_id": ends[1], "has_more": has_more}
