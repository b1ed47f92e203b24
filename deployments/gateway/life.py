"""The life of a chat completion: read, check, measure, price, hold, route, run, relay, settle."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from accounting.command import Outcome
from accounting.failpoint import failpoint
from accounting.key import KeyRecord, Scope
from accounting.price import ImageWork, Price, Work
from catalog import Catalog, ModelCard
from deployments.files.file import Owner
from deployments.gateway import answer, grounding, request_log, trace
from deployments.gateway.affinity import affinity_key
from deployments.gateway.arrivals import ArrivalLimits, Arrivals
from deployments.gateway.asgi import ClientLeft, Exchange
from deployments.gateway.bill import Bill, Books, Caller, Stored, Tier
from deployments.gateway.coalesce import Answer, Coalescer, Key, Lead
from deployments.gateway.engine import EngineBrokeOff, Engines, engine_request
from deployments.gateway.engine_refusal import ImageRefused
from deployments.gateway.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    GatewayError,
    InProgress,
    ModelNotAllowed,
    Overloaded,
    PriceUnavailable,
    Unavailable,
)
from deployments.gateway.execution import Executions, Job
from deployments.gateway.forming import Forming, demand_of
from deployments.gateway.keys import Keys
from deployments.gateway.media.allowance import Allowance, Effort
from deployments.gateway.media.media import Media
from deployments.gateway.media.picture import Picture
from deployments.gateway.metrics import Metrics
from deployments.gateway.models import deployed
from deployments.gateway.parameters import check_against_card, without_neutral
from deployments.gateway.prompt import prompt_bytes
from deployments.gateway.request import ChatRequest, encoded, parse
from deployments.gateway.route import Router
from deployments.gateway.transcript import Transcript, retold
from deployments.gateway.waking import Waking, patience_s
from deployments.log import logger_for
from deployments.scaling.signals import Signals

logger = logger_for(__name__)

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
# What a chat template may add, in tokens: to each message a role and delimiters, before them a default system message.
TEMPLATE_TOKENS_MAX = 64
# For its charge, 10 s, and for a slow line to take what is left of an answer; who takes nothing must not keep a replica's slot.
DELIVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class ChatLimits:
    """Bounds of every chat completion, whatever the model."""

    body_bytes_max: int = 32 * 2**20
    deadline_s: float = 600.0
    arrivals: ArrivalLimits = field(default_factory=ArrivalLimits)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may run, as soon as its hold is durable. Others with the same `shared_as` may share its answer."""

    bill: Bill
    job: Job
    shared_as: Key | None
    pictures: list[Picture]
    chat: ChatRequest
    transcript: Transcript
    places: grounding.Reading | None = None

    def told(self) -> bytes:
        """The streamed answer so far, for an idempotency key; not put together where none is to be kept."""
        return self.transcript.encoded(self.bill) if self.bill.keeps_answer else b""

    def with_places(self, engine_answer: Answer) -> Answer:
        """The engine's answer, with boxes or points beside its text if they were asked for."""
        return grounding.Grounded(engine_answer, self.places) if self.places else engine_answer

    @property
    def wants_usage(self) -> bool:
        return bool(self.chat.stream_options and self.chat.stream_options.include_usage)


class ChatCompletions:
    """Answers `POST /v1/chat/completions`."""

    def __init__(
        self,
        catalog: Catalog,
        prices: dict[str, Price],
        keys: Keys,
        media: Media,
        books: Books,
        router: Router,
        engines: Engines,
        metrics: Metrics,
        limits: ChatLimits,
        signals: Signals | None = None,
        waking: Waking | None = None,
    ) -> None:
        self._catalog = catalog
        self._prices = prices
        self._keys = keys
        self._media = media
        self._books = books
        self.forming = Forming(router.replicas)
        self._executions = Executions(self.forming, router, engines, metrics, signals, waking)
        self._coalescer = Coalescer()
        self._metrics = metrics
        self._limits = limits
        self.arrivals = Arrivals(limits.arrivals)
        self._allowance = Allowance()

    async def __call__(self, exchange: Exchange) -> None:
        """The life of a request. Raises `GatewayError` for what is told to the caller before a byte was sent."""
        key = self._keys.authenticate(exchange.header("authorization"), Scope.INFERENCE)
        with self.arrivals.arrive(key) as arrival:
            exchange.grow = arrival.grow
            await self.run(exchange, key, idempotency_key(exchange))

    async def run(self, exchange: Exchange, key: KeyRecord, idempotency_key: str | None) -> None:
        """The same for a caller who is known already: a line of a batch is one."""
        exchange.notes["key_id"] = key.id
        with self._allowance.effort(key) as effort:
            await self._run(exchange, key, idempotency_key, effort)

    async def _run(self, exchange: Exchange, key: KeyRecord, idempotency_key: str | None, effort: Effort) -> None:
        with trace.step("admit"):
            admitted = await self._admit(exchange, key, idempotency_key, effort)
        async with (
            self._settled(admitted, exchange),
            exchange.while_connected(),
            asyncio.timeout(admitted.job.deadline_s) as deadline,
        ):
            with trace.step("hold"):
                stored = await admitted.bill.durable()
            if stored is not None:
                await _replay(stored, admitted, exchange)
                return
            bill = admitted.bill
            async with (
                self._books.attempts.running(bill.request_id, bill.attempt_number),
                self._answer(admitted) as answered,
            ):
                engine_answer = admitted.with_places(answered)
                if admitted.chat.stream:
                    await _relay_stream(engine_answer, admitted, exchange, deadline)
                else:
                    await _relay_whole(engine_answer, admitted, exchange, deadline)
                effort.is_paid = True

    async def _admit(self, exchange: Exchange, key: KeyRecord, idempotency_key: str | None, effort: Effort) -> Admitted:
        """Everything before the GPU: nothing is held until all of it is right."""
        raw = await exchange.body(self._limits.body_bytes_max)
        chat = parse(raw)
        if chat.ignored:
            exchange.adds.append((b"x-vlm-ignored", ", ".join(chat.ignored).encode()))
        card = deployed(self._catalog, chat.request.model)
        if not key.may_use(card.served_name):
            raise ModelNotAllowed
        price = self._prices.get(card.served_name)
        if price is None:
            raise PriceUnavailable
        if kind := grounding.kind_asked(chat, exchange.header(grounding.ANSWER_HEADER)):
            chat = grounding.for_engine(chat, kind, card)
        chat = without_neutral(chat, card)
        check_against_card(chat, card)
        deadline_s, began_s = self._deadline_s(exchange, chat.request), exchange.elapsed_s()
        with trace.step("media"):
            pictures = await self._pictures(exchange, chat.request, card, Owner(key.org_id, key.project_id), effort)
        deadline_s -= exchange.elapsed_s() - began_s
        places = grounding.reading(kind, card, pictures) if kind else None
        output_tokens_max = chat.request.output_tokens_asked or card.limits.output_tokens_default
        sent = engine_request(chat, card, pictures, output_tokens_max)
        work = bounded_work(sent, card, pictures)
        body = encoded(sent)
        tier = tier_of(exchange)
        demand = demand_of(work, f"{key.org_id}/{key.project_id}", is_batch=tier == "batch")
        # A batch has a day: its lines wait for a model to start.
        wait_s = deadline_s if tier == "batch" else min(patience_s(exchange.header("prefer")), deadline_s)
        job = Job(card, body, demand, affinity_key(chat.request, pictures), deadline_s, work, wait_s)
        shared_as = (key.org_id, key.project_id, tier, body) if may_share(exchange, chat.request, card) else None
        caller = Caller(key, chat.request.user, chat.request.metadata, idempotency_key, is_retry(exchange), tier)
        # An answer that is kept, or on its way already, needs no room.
        if caller.idempotency_key is None and not self._coalescer.runs(shared_as):
            self._executions.check_room(job)
        # Last: from here on a hold may exist, and only `_settled` ends it.
        bill = self._books.open_bill(caller, price, work, hashlib.sha256(raw).hexdigest(), deadline_s)
        return Admitted(bill, job, shared_as, pictures, chat.request, Transcript(), places)

    async def _pictures(
        self, exchange: Exchange, chat: ChatRequest, card: ModelCard, owner: Owner, effort: Effort
    ) -> list[Picture]:
        """What the request shows, made ready within its deadline, and only while its client is there."""
        try:
            async with exchange.while_connected(), asyncio.timeout(self._deadline_s(exchange, chat)):
                return await self._media.load(chat, card, owner, effort)
        except TimeoutError:
            raise Overloaded from None

    def _deadline_s(self, exchange: Exchange, chat: ChatRequest) -> float:
        """The client's own patience for a whole answer, where the SDK tells it: given-up work is not worth a GPU."""
        patience = exchange.header("x-stainless-read-timeout")
        if chat.stream or patience is None:
            return self._limits.deadline_s
        try:
            patience_s = float(patience)
        except ValueError:
            return self._limits.deadline_s
        return min(patience_s, self._limits.deadline_s) if patience_s > 0 else self._limits.deadline_s

    def _answer(self, admitted: Admitted) -> AbstractAsyncContextManager[Answer]:
        """Have an engine answer, or read along where one answers the very same already."""
        bill, key = admitted.bill, admitted.shared_as

        def run(lead: Lead) -> AbstractAsyncContextManager[Answer]:
            return self._executions.answer(admitted.job, bill.request_id, lead, bill.waited_for_start)

        if key is None:
            return run(bill.slot_taken)
        if self._coalescer.runs(key):
            self._metrics.coalesced(admitted.job.card.served_name)
        return self._coalescer.answer(key, bill.request_id, bill.slot_taken, run, stream=admitted.chat.stream)

    @asynccontextmanager
    async def _settled(self, admitted: Admitted, exchange: Exchange) -> AsyncIterator[None]:
        """Whatever happens inside, the hold ends as it must, and the caller is told what it can be told."""
        bill = admitted.bill
        try:
            yield
        except ClientLeft:
            bill.client_left(was_sent=exchange.started)
        except asyncio.CancelledError:
            bill.client_left(was_sent=exchange.started)
            raise
        except TimeoutError as error:
            if not exchange.is_sending:
                await self._fail(error, admitted, exchange)
            else:  # a client that does not read on has left, and can be told nothing
                bill.client_left(was_sent=exchange.started)
        except (GatewayError, EngineBrokeOff) as error:
            await self._fail(error, admitted, exchange)
        finally:
            bill.void(Outcome.ENGINE_FAILED)  # only a defect of ours leaves a bill open until here
            self._metrics.ended(bill, exchange.elapsed_s())
            request_log.note(exchange, bill)

    async def _fail(self, error: Exception, admitted: Admitted, exchange: Exchange) -> None:
        """End the hold, and tell the caller why there is no answer. Raises a `GatewayError` where nothing was sent yet."""
        admitted.bill.void(outcome_of(error))
        failure = await _diagnosed(error, admitted, self._media)
        if not exchange.started:
            raise failure from None
        with suppress(TimeoutError):
            async with asyncio.timeout(DELIVERY_S):
                await exchange.end(answer.failure_event(admitted.bill.request_id, failure))


def idempotency_key(exchange: Exchange) -> str | None:
    """The caller's own name for this request. Raises `BadRequest`."""
    key = exchange.header("idempotency-key")
    if key is not None and not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX:
        raise BadRequest(
            f"'Idempotency-Key' has 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.", param="Idempotency-Key"
        )
    return key


def is_retry(exchange: Exchange) -> bool:
    """Whether the client's SDK sends this request again by itself, as it does after a broken connection."""
    count = exchange.header("x-stainless-retry-count") or ""
    return count.isdecimal() and count.strip("0") != ""


def tier_of(exchange: Exchange) -> Tier:
    """What the caller pays, and whom it goes behind. Raises `BadRequest`."""
    match exchange.header("x-tier"):
        case None | "default":
            return "default"
        case "batch":
            return "batch"
    raise BadRequest("'X-Tier' is 'default' or 'batch'.", param="X-Tier")


def may_share(exchange: Exchange, chat: ChatRequest, card: ModelCard) -> bool:
    """Whether an identical request would get the very same answer, and caller and card do not mind."""
    has_no_chance = chat.temperature == 0 or chat.seed is not None
    return has_no_chance and card.coalesce and exchange.header("x-coalesce") != "off"


def bounded_work(sent: dict[str, Any], card: ModelCard, pictures: list[Picture]) -> Work:
    """The most work that what is sent to an engine can be. Pure. Raises `ContextTooLong` if images and output alone do not
    fit.
    """
    work = Work(
        images=tuple(ImageWork(picture.vision_tokens, picture.encoder_patches) for picture in pictures),
        text_tokens=prompt_bytes(sent) + TEMPLATE_TOKENS_MAX * (1 + len(sent["messages"])),
        output_tokens=sent["max_tokens"],
    )
    if work.vision_tokens + work.output_tokens > card.context_tokens:
        raise ContextTooLong(card.context_tokens)
    return work


def outcome_of(error: Exception) -> Outcome:
    """How a request that failed is recorded. Pure."""
    match error:
        case BadRequest():
            return Outcome.REFUSED
        case InProgress():
            return Outcome.CLIENT_LEFT_EARLY  # its SDK goes on elsewhere, with this very hold
        case Unavailable():
            return Outcome.NO_REPLICA
        case TimeoutError():
            return Outcome.TIMED_OUT
    return Outcome.ENGINE_FAILED


async def _relay_whole(
    engine_answer: Answer, admitted: Admitted, exchange: Exchange, deadline: asyncio.Timeout
) -> None:
    bill = admitted.bill
    data = await engine_answer.whole()
    bill.first_chunk()
    bill.usage = answer.read_usage(data["usage"])
    bill.finish = answer.read_finish(data)
    if bill.finish is None:
        raise EngineBrokeOff
    _deliver(deadline)
    charge = bill.charge()
    body = answer.whole(data, bill, charge)
    with trace.step("settle"):
        await bill.post(body)
    price = (b"x-vlm-price-nanousd", str(charge.amount_nano).encode())
    await exchange.answer(200, body, [*_headers(bill), price])


async def _relay_stream(
    engine_answer: Answer, admitted: Admitted, exchange: Exchange, deadline: asyncio.Timeout
) -> None:
    bill = admitted.bill
    last = None
    async for chunk in engine_answer.chunks():
        if usage := chunk.get("usage"):
            bill.usage = answer.read_usage(usage)
        if not chunk["choices"]:
            last = chunk if chunk.get("usage") else None  # the engine's usage chunk
            continue
        bill.first_chunk()
        bill.finish = answer.read_finish(chunk) or bill.finish
        if bill.keeps_answer:
            admitted.transcript.add(chunk)
        if not exchange.started:
            bill.first_byte()
            await exchange.start(200, EVENT_STREAM, _headers(bill))
            failpoint("first_byte.sent")
        elif bill.taken_over:
            raise InProgress
        await exchange.write(answer.chunk(chunk))
        failpoint("stream.middle")
    if last is None or not exchange.started or bill.finish is None:
        raise EngineBrokeOff
    _deliver(deadline)
    with trace.step("settle"):
        await bill.post(admitted.told())
    usage_event = answer.usage_chunk(last, bill, bill.charge()) if admitted.wants_usage else b""
    await exchange.end(usage_event + answer.DONE)


def _deliver(deadline: asyncio.Timeout) -> None:
    """The deadline was for the engine: what is charged is also delivered, to whoever takes it."""
    deadline.reschedule(asyncio.get_running_loop().time() + DELIVERY_S)


async def _replay(stored: Stored, admitted: Admitted, exchange: Exchange) -> None:
    """Tell an earlier answer again."""
    headers = [(b"x-vlm-request-id", stored.request_id.encode()), (b"x-idempotent-replay", b"true")]
    if admitted.chat.stream:
        body, media_type = retold(stored.answer, with_usage=admitted.wants_usage), EVENT_STREAM
    else:
        body, media_type = stored.answer.encode(), JSON
    await exchange.answer(200, body, headers, media_type)


def _headers(bill: Bill) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-vlm-request-id", bill.request_id.encode()),
        (b"x-vlm-hold-nanousd", str(bill.hold_nano).encode()),
        *answer.limit_headers(bill.limits),
        *([(b"x-model-cold-start", b"true")] if bill.is_cold_start else []),
    ]


async def _diagnosed(error: Exception, admitted: Admitted, media: Media) -> GatewayError:
    """What to tell the caller."""
    match error:
        case ImageRefused():
            return await media.damaged(admitted.pictures, admitted.job.demand.tenant) or error
        case GatewayError():
            return error
        case TimeoutError():
            return Overloaded()
    return EngineFailed()
