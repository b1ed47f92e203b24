"""`/v1/organization/usage/*` and `/v1/organization/costs`, in OpenAI's shapes: what was charged, by bucket of time and by group.

Answered from rollups, at the time of admission, in whole buckets: the first one contains `start_time`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field

from accounting import questions
from accounting.key import Scope
from accounting.money import usd
from accounting.store import Place
from accounting.usage import Bucket, UsageQuery, Width, bucket_start
from catalog import Catalog
from deployments.gateway.asgi import Exchange
from deployments.gateway.desk import Desk
from deployments.gateway.errors import BadRequest, NotAllowed
from deployments.gateway.form import Form, UnixSeconds, as_list, read_query
from deployments.gateway.keys import Keys
from deployments.gateway.routes import Route
from deployments.gateway.usage_mark import Mark

USAGE_PATH = "/v1/organization/usage"
# What OpenAI counts besides and we do not have: a client that walks all of them finds nothing, and does not break.
OTHERS = (
    "audio_speeches", "audio_transcriptions", "code_interpreter_sessions", "decisions", "embeddings", "file_search_calls",
    "images", "moderations", "vector_stores", "web_search_calls",
)  # fmt: skip

# What results can be grouped by; `org_id` is ours.
CompletionsGroup = Literal["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "org_id"]
CostsGroup = Literal["project_id", "user_id", "api_key_id", "line_item", "org_id"]
# The columns of the rollups that it takes.
COLUMNS = {
    "project_id": ("project_id",),
    "user_id": ("user_id",),
    "api_key_id": ("key_id",),
    "model": ("model",),
    "batch": ("tier",),
    "service_tier": ("tier",),
    "line_item": ("model", "tier"),
    "org_id": ("org_id",),
}

T = TypeVar("T")
Several = Annotated[tuple[T, ...], BeforeValidator(as_list)]


# A page of so many results, or of one more portion of the ledger's, ends there: within a bucket, where that is long.
RESULTS_MAX = 10_000


class PageQuery(Form):
    """Times are seconds. `page` is the `next_page` of the page before."""

    start_time: UnixSeconds
    end_time: UnixSeconds | None = None
    bucket_width: Width = Width.DAY
    limit: Annotated[int, Field(ge=1)] | None = None
    page: Annotated[Mark | None, BeforeValidator(Mark.read)] = None
    models: Several[str] = ()
    project_ids: Several[str] = ()
    user_ids: Several[str] = ()
    api_key_ids: Several[str] = ()
    group_by: Several[str] = ()


class CompletionsQuery(PageQuery):
    """The query of `/usage/completions`."""

    group_by: Several[CompletionsGroup] = ()


class CostsQuery(PageQuery):
    """The query of `/costs`."""

    group_by: Several[CostsGroup] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """How many buckets a page has."""

    default: int
    max: int


@dataclass(frozen=True, slots=True)
class Report:
    """One of OpenAI's pages, and what becomes of a bucket on it. `groups`: what its results can be grouped by."""

    form: type[PageQuery]
    limits: dict[Width, Limit]
    groups: tuple[str, ...]
    result: Callable[[Bucket], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Span:
    """The buckets of one page: [from_ms, to_ms), whole ones. `next` is where the next page begins, if there is one."""

    width: Width
    from_ms: int
    to_ms: int
    next: Mark | None

    def until(self, last: Bucket) -> "Span":
        """The same, up to a result that is the last on the page."""
        mark = Mark(last.start_ms // 1000, last.group)
        return replace(self, to_ms=last.start_ms + self.width.ms, next=mark)


class Usage:
    """Keys with the scope `usage:read` see their own organisation, those with `manage` all of them."""

    def __init__(self, desk: Desk, keys: Keys, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._keys = keys
        self._catalog = catalog
        self._now_ms = now_ms

    def routes(self) -> Iterator[Route]:
        yield Route("GET", f"{USAGE_PATH}/completions", partial(self._report, COMPLETIONS))
        yield Route("GET", "/v1/organization/costs", partial(self._report, COSTS))
        for kind in OTHERS:
            yield Route("GET", f"{USAGE_PATH}/{kind}", self._nothing)

    async def _report(self, report: Report, exchange: Exchange) -> None:
        org_ids = self._organisations(exchange)
        query = read_query(report.form, exchange.query)
        span = span_of(query, report.limits, self._now_ms())
        columns = tuple(dict.fromkeys(column for name in query.group_by for column in COLUMNS[name]))
        asked = UsageQuery(
            width=span.width,
            from_ms=span.from_ms,
            to_ms=span.to_ms,
            group_by=columns,
            models=tuple(map(self._served_name, query.models)),
            key_ids=query.api_key_ids,
            project_ids=query.project_ids,
            user_ids=query.user_ids,
            org_ids=org_ids,
        )
        found, last = await self._found(asked, place_behind(query.page, span, columns))
        results = defaultdict(list)
        for bucket in found:
            group = dict(zip(columns, bucket.group, strict=True))
            grouping = {name: _group(name, group) if name in query.group_by else None for name in report.groups}
            results[bucket.start_ms].append(report.result(bucket) | grouping)
        await exchange.answer_json(page(span if last is None else span.until(last), results))

    async def _found(self, asked: UsageQuery, after: Place) -> tuple[list[Bucket], Bucket | None]:
        """What was used, and the last of it if there may be more than a page has."""
        found: list[Bucket] = []
        async for buckets in self._desk.pages(questions.Usage(asked), after):
            found += buckets
            if len(found) >= RESULTS_MAX:
                return found, found[-1]
        return found, None

    async def _nothing(self, exchange: Exchange) -> None:
        self._organisations(exchange)
        await exchange.answer_json({"object": "page", "data": [], "has_more": False, "next_page": None})

    def _organisations(self, exchange: Exchange) -> tuple[str, ...]:
        """Whose usage the caller may see; empty: everyone's. Raises `InvalidKey` or `NotAllowed`."""
        key = self._keys.authenticate(exchange.header("authorization"), None)
        if Scope.MANAGE in key.scopes:
            return ()
        if Scope.USAGE not in key.scopes:
            raise NotAllowed(Scope.USAGE)
        return (key.org_id,)

    def _served_name(self, name: str) -> str:
        """Rollups know a model by one of its names; one that is served no more has only that."""
        card = self._catalog.find(name)
        return card.served_name if card else name


def span_of(query: PageQuery, limits: dict[Width, Limit], now_ms: int) -> Span:
    """Which buckets are asked for: never any that have not begun. Raises `BadRequest`."""
    width = query.bucket_width
    if (limit := limits.get(width)) is None:
        raise BadRequest(f"'bucket_width' is {' or '.join(limits)} here.", param="bucket_width")
    buckets = query.limit or limit.default
    if buckets > limit.max:
        raise BadRequest(f"'limit' is at most {limit.max} for buckets of {width}.", param="limit")
    if query.end_time is not None and query.end_time <= query.start_time:
        raise BadRequest("'end_time' is not after 'start_time'.", param="end_time")
    end_ms = now_ms + 1 if query.end_time is None else min(query.end_time * 1000, now_ms + 1)
    from_ms = bucket_start(width, (query.page.start_s if query.page else query.start_time) * 1000)
    last_ms = max(from_ms, bucket_start(width, end_ms - 1) + width.ms)
    to_ms = min(last_ms, from_ms + buckets * width.ms)
    return Span(width, from_ms, to_ms, Mark(to_ms // 1000) if to_ms < last_ms else None)


def place_behind(mark: Mark | None, span: Span, columns: tuple[str, ...]) -> Place:
    """Of the last result of the page before, if this page begins within a bucket. Raises `BadRequest`."""
    if mark is None or mark.group is None:
        return ()
    if len(mark.group) != len(columns):
        raise BadRequest("'page' is of a query with another 'group_by'. Begin again without it.", param="page")
    return span.from_ms, *mark.group


def page(span: Span, results: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """A page with every bucket of the span, those without a result too. `results` are by the start of their bucket."""
    data = [
        {
            "object": "bucket",
            "start_time": start_ms // 1000,
            "end_time": (start_ms + span.width.ms) // 1000,
            "results": results.get(start_ms, []),
        }
        for start_ms in range(span.from_ms, span.to_ms, span.width.ms)
    ]
    next_page = None if span.next is None else str(span.next)
    return {"object": "page", "data": data, "has_more": next_page is not None, "next_page": next_page}


def completions_result(bucket: Bucket) -> dict[str, Any]:
    """What one group used; images, units and the amount are ours."""
    input_tokens = bucket.text_tokens + bucket.vision_tokens
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": input_tokens,
        "output_tokens": bucket.output_tokens,
        "num_model_requests": bucket.requests,
        "input_cached_tokens": bucket.cached_tokens,
        "input_uncached_tokens": input_tokens - bucket.cached_tokens,
        "input_image_tokens": bucket.vision_tokens,
        "input_text_tokens": bucket.text_tokens,
        "input_audio_tokens": 0,
        "output_text_tokens": bucket.output_tokens,
        "output_audio_tokens": 0,
        "images": bucket.images,
        "units": bucket.units,
        "amount": _amount(bucket.revenue_nano),
    }


def costs_result(bucket: Bucket) -> dict[str, Any]:
    """What one group was charged."""
    return {
        "object": "organization.costs.result",
        "amount": _amount(bucket.revenue_nano),
        "quantity": bucket.images,
        "quantity_unit": "images",
    }


def _amount(amount_nano: int) -> dict[str, Any]:
    """OpenAI's number of dollars; `value_nano` is ours, and exact."""
    return {"value": float(usd(amount_nano)), "currency": "usd", "value_nano": amount_nano}


def _group(name: str, of: dict[str, str]) -> str | bool | None:
    match name:
        case "batch":
            return of["tier"] == "batch"
        case "service_tier":
            return of["tier"]
        case "line_item":
            return f"{of['model']}, {of['tier']}"
        case "api_key_id":
            return of["key_id"]
        case _:
            return of[name] or None  # a request that names no user has the user ""


COMPLETIONS = Report(
    CompletionsQuery,
    {Width.DAY: Limit(7, 31), Width.HOUR: Limit(24, 168), Width.MINUTE: Limit(60, 1440)},
    get_args(CompletionsGroup),
    completions_result,
)
COSTS = Report(CostsQuery, {Width.DAY: Limit(7, 180)}, get_args(CostsGroup), costs_result)
