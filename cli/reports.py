"""`vlmfleet usage`, `cost`, `audit`."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import typer

from accounting.money import usd
from accounting.usage import Width
from cli.failed import Failed
from cli.moment import day, unix_s
from cli.options import AsJson, Key, Url
from cli.server import Server, given
from cli.table import Column, details, dollars, moment, number, show, text

COMPLETIONS = "/v1/organization/usage/completions"
WEEK_S = 7 * 86_400
GROUPS = {
    "model": "model",
    "key": "api_key_id",
    "project": "project_id",
    "user": "user_id",
    "tier": "service_tier",
    "org": "org_id",
}
COST = [
    text("model"),
    dollars("rent_usd"),
    dollars("share_usd", rank=1),
    dollars("idle_usd", rank=2),
    dollars("cold_usd", rank=3),
    dollars("waste_usd", rank=4),
    dollars("revenue_usd"),
    dollars("margin_usd"),
]
AUDIT = [moment("at", "at"), text("by"), text("action"), details("content")]


def usage(
    since: Annotated[datetime | None, typer.Option("--from", help="UTC. Default: seven days ago.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="UTC. Default: now.")] = None,
    by: Annotated[str, typer.Option(help=f"Any of {', '.join(GROUPS)}; separated by commas.")] = "model",
    width: Annotated[Width, typer.Option(help="The time that a row is about.")] = Width.DAY,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What was used and charged. A key with the scope usage:read sees its own organisation."""
    names = _groups(by)
    query = given(
        start_time=int(time.time()) - WEEK_S if since is None else unix_s(since),
        end_time=unix_s(until),
        bucket_width=width.value,
    ) | {"group_by[]": names}
    buckets = list(_pages(Server(url, key), query))
    show(
        usage_columns(names, width), map(_row, _results(buckets)), {"object": "list", "data": buckets}, as_json=as_json
    )


def cost(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="UTC; today counts until now.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What each model's accelerators cost in a day, who used them, and what it earned.

    rent = share (of requests that were paid for) + idle + cold (loading) + waste (of all others); margin = revenue - rent.
    """
    answer = Server(url, key).get("/v1/admin/cost", {"day": f"{day:%Y-%m-%d}"})
    show(COST, [*answer["data"], answer["total"] | {"model": "total"}], answer, as_json=as_json)


def audit(
    since: Annotated[datetime | None, typer.Option("--from", help="UTC. Default: seven days ago.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", help="UTC. Default: now.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Who changed what, the newest first."""
    answer = Server(url, key).get("/v1/admin/audit", given(start_time=unix_s(since), end_time=unix_s(until)))
    show(AUDIT, answer["data"], answer, as_json=as_json)


def usage_columns(groups: list[str], width: Width) -> list[Column]:
    start = Column("from", "start_time", day, whole=True) if width is Width.DAY else moment("start_time", "from")
    return [
        start,
        *map(text, groups),
        number("num_model_requests", "requests", rank=1),
        number("images", rank=2),
        number("input_tokens", rank=3),
        number("output_tokens", rank=4),
        dollars("charged_usd"),
    ]


def _groups(by: str) -> list[str]:
    unknown = [name for name in by.split(",") if name not in GROUPS]
    if unknown:
        raise Failed(f"usage cannot be shown by {unknown[0]!r}; there are: {', '.join(GROUPS)}")
    return [GROUPS[name] for name in by.split(",")]


def _pages(server: Server, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The buckets of all pages."""
    page = server.get(COMPLETIONS, query)
    yield from page["data"]
    while page["has_more"]:
        page = server.get(COMPLETIONS, query | {"page": page["next_page"]})
        yield from page["data"]


def _results(buckets: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for bucket in buckets:
        for result in bucket["results"]:
            yield result | {"start_time": bucket["start_time"]}


def _row(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"charged_usd": usd(result["amount"]["value_nano"])}
