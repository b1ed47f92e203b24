"""`/v1/batches`: entered, looked at and cancelled here, and run by `deployments/batches`. In OpenAI's shapes."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from accounting.key import KeyRecord, Scope
from deployments.batches.batch import BATCH, ENDED, Asked, batch_object
from deployments.batches.book import Book
from deployments.files.file import FileMissing, Owner, Purpose, new_id
from deployments.files.store import FileStore
from deployments.gateway.asgi import Exchange
from deployments.gateway.errors import BadRequest, Conflict, NothingOfThatName
from deployments.gateway.files import of_store
from deployments.gateway.form import Form, Metadata, NullableForm, read_body, read_query
from deployments.gateway.keys import Keys
from deployments.gateway.page import ids_after, page
from deployments.gateway.routes import Route

BODY_BYTES_MAX = 64 * 2**10


class NewBatch(NullableForm):
    """`metadata` is the caller's own, and shown again."""

    input_file_id: str
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None


class BatchesQuery(Form):
    """`after`: the id of the last one that was seen."""

    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class Batches:
    """Of the key's own project; those of others are not there."""

    def __init__(self, book: Book, files: FileStore, keys: Keys, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._files = files
        self._keys = keys
        self._now_ms = now_ms

    def routes(self) -> Iterator[Route]:
        yield Route("POST", "/v1/batches", of_store(self.create))
        yield Route("GET", "/v1/batches", of_store(self.listing))
        yield Route("GET", "/v1/batches/{batch_id}", of_store(self.read))
        yield Route("POST", "/v1/batches/{batch_id}/cancel", of_store(self.cancel))

    async def create(self, exchange: Exchange) -> None:
        key, owner = self._caller(exchange)
        new = read_body(NewBatch, await exchange.body(BODY_BYTES_MAX))
        await self._check_input(owner, new.input_file_id)
        now_ms = self._now_ms()
        asked = Asked(new_id(BATCH, now_ms), owner, key.id, new.input_file_id, now_ms, new.metadata)
        await self._book.open(asked)
        await exchange.answer_json(await self._object(asked))

    async def listing(self, exchange: Exchange) -> None:
        _, owner = self._caller(exchange)
        query = read_query(BatchesQuery, exchange.query)
        ids = ids_after(await self._book.ids(owner), query.after, "desc")
        await exchange.answer_json(await page(self._objects(owner, ids), query.limit))

    async def read(self, exchange: Exchange, batch_id: str) -> None:
        _, owner = self._caller(exchange)
        await exchange.answer_json(await self._object(await self._find(owner, batch_id)))

    async def cancel(self, exchange: Exchange, batch_id: str) -> None:
        _, owner = self._caller(exchange)
        asked = await self._find(owner, batch_id)
        progress = await self._book.progress(asked.id)
        if progress.status in ENDED:
            raise Conflict(f"This batch is {progress.status} already, so it cannot be cancelled.", param="batch_id")
        if await self._book.cancelled_at_ms(asked.id) is None:
            await self._book.cancel(asked, self._now_ms())
        await exchange.answer_json(await self._object(asked))

    def _caller(self, exchange: Exchange) -> tuple[KeyRecord, Owner]:
        key = self._keys.authenticate(exchange.header("authorization"), Scope.INFERENCE)
        return key, Owner(key.org_id, key.project_id)

    async def _check_input(self, owner: Owner, file_id: str) -> None:
        try:
            file = await self._files.find(owner, file_id)
        except FileMissing as error:
            raise NothingOfThatName("file", param="input_file_id") from error
        if file.purpose is not Purpose.BATCH:
            raise BadRequest("The file was not uploaded with the purpose 'batch'.", param="input_file_id")

    async def _find(self, owner: Owner, batch_id: str) -> Asked:
        if (asked := await self._book.find(owner, batch_id)) is None:
            raise NothingOfThatName("batch", param="batch_id")
        return asked

    async def _object(self, asked: Asked) -> dict[str, Any]:
        cancelled_at_ms = await self._book.cancelled_at_ms(asked.id)
        return batch_object(asked, await self._book.progress(asked.id), cancelled_at_ms)

    async def _objects(self, owner: Owner, ids: list[str]) -> AsyncIterator[dict[str, Any]]:
        for batch_id in ids:
            if asked := await self._book.find(owner, batch_id):
                yield await self._object(asked)
