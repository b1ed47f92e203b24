"""`/v1/files`: what is uploaded for batches and as media, and what batches leave. In OpenAI's shapes."""

from collections.abc import Iterator
from functools import wraps
from typing import Annotated, Any

from pydantic import Field

from accounting.key import KeyRecord, Scope
from deployments.files.file import BYTES_MAX, File, FileMissing, Owner, Purpose
from deployments.files.place import StoreFailed
from deployments.files.quota import QuotaReached
from deployments.files.store import FileStore
from deployments.gateway.arrivals import Arrivals
from deployments.gateway.asgi import Exchange
from deployments.gateway.errors import BadRequest, FilesUnavailable, FileTooLarge, NothingOfThatName, StorageFull
from deployments.gateway.form import Form, read_query
from deployments.gateway.keys import Keys
from deployments.gateway.multipart import FIELD_CHARACTERS_SHOWN, FormReader
from deployments.gateway.page import Order, ids_after, page
from deployments.gateway.routes import Handler, Route
from deployments.log import logger_for

logger = logger_for(__name__)

# Of the form around the file.
FORM_BYTES_MAX = 64 * 2**10
PURPOSES = ", ".join(f"'{purpose}'" for purpose in BYTES_MAX)
EXPIRY = "expires_after"
BINARY = b"application/octet-stream"


class FilesQuery(Form):
    """`after`: the id of the last one that was seen."""

    purpose: Purpose | None = None
    after: str | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Order = "desc"


class Files:
    """Of the key's own project; those of others are not there."""

    def __init__(self, files: FileStore, keys: Keys, arrivals: Arrivals) -> None:
        self._files = files
        self._keys = keys
        self._arrivals = arrivals

    def routes(self) -> Iterator[Route]:
        yield Route("POST", "/v1/files", of_store(self.upload))
        yield Route("GET", "/v1/files", of_store(self.listing))
        yield Route("GET", "/v1/files/{file_id}", of_store(self.read))
        yield Route("DELETE", "/v1/files/{file_id}", of_store(self.remove))
        yield Route("GET", "/v1/files/{file_id}/content", of_store(self.content))

    async def upload(self, exchange: Exchange) -> None:
        with self._arrivals.arrive(self._key(exchange)):
            await exchange.answer_json(file_object(await self._kept(exchange)))

    async def _kept(self, exchange: Exchange) -> File:
        """What was uploaded, once it is stored."""
        form = FormReader(exchange.header("content-type"))
        async with self._files.upload(self._owner(exchange)) as draft:
            async for chunk in exchange.chunks(max(BYTES_MAX.values()) + FORM_BYTES_MAX):
                if of_file := form.feed(chunk):
                    await draft.write(of_file)
                    check_size(form, draft.size_bytes)
            purpose = purpose_of(form)
            check_size(form, draft.size_bytes)
            if not form.ended or not draft.size_bytes:
                raise BadRequest("'file' is missing, empty or cut off.", param="file")
            return await draft.keep(form.filename or "file", purpose)

    async def listing(self, exchange: Exchange) -> None:
        owner = self._owner(exchange)
        query = read_query(FilesQuery, exchange.query)
        ids = ids_after(await self._files.ids(owner), query.after, query.order)
        files = self._files.several(owner, ids)
        shown = (file_object(file) async for file in files if query.purpose in (None, file.purpose))
        await exchange.answer_json(await page(shown, query.limit))

    async def read(self, exchange: Exchange, file_id: str) -> None:
        await exchange.answer_json(file_object(await self._find(self._owner(exchange), file_id)))

    async def remove(self, exchange: Exchange, file_id: str) -> None:
        owner = self._owner(exchange)
        file = await self._find(owner, file_id)
        await self._files.remove(owner, file.id)
        await exchange.answer_json({"id": file.id, "object": "file", "deleted": True})

    async def content(self, exchange: Exchange, file_id: str) -> None:
        owner = self._owner(exchange)
        file = await self._find(owner, file_id)
        await exchange.start(200, BINARY, [(b"content-length", str(file.size_bytes).encode())])
        if not exchange.is_head:
            async for chunk in self._files.chunks(owner, file.id):
                await exchange.write(chunk)
        await exchange.end()

    def _key(self, exchange: Exchange) -> KeyRecord:
        return self._keys.authenticate(exchange.header("authorization"), Scope.INFERENCE)

    def _owner(self, exchange: Exchange) -> Owner:
        key = self._key(exchange)
        return Owner(key.org_id, key.project_id)

    async def _find(self, owner: Owner, file_id: str) -> File:
        try:
            return await self._files.find(owner, file_id)
        except FileMissing as error:
            raise NothingOfThatName("file", param="file_id") from error


def file_object(file: File) -> dict[str, Any]:
    """A file in OpenAI's shape."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_at_ms // 1000,
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def purpose_of(form: FormReader) -> Purpose:
    """What the form says that its file is for. Raises `BadRequest`."""
    if any(name.startswith(EXPIRY) for name in form.fields):
        raise BadRequest("Files stay here until they are deleted. Remove 'expires_after'.", param=EXPIRY)
    if unknown := form.fields.keys() - {"purpose"}:
        name = min(unknown)[:FIELD_CHARACTERS_SHOWN]
        raise BadRequest(f"There is no field '{name}'. Remove it or correct its name.", param=name)
    purpose = form.fields.get("purpose")
    if purpose not in BYTES_MAX:
        raise BadRequest(f"'purpose' is one of {PURPOSES}.", param="purpose")
    return Purpose(purpose)


def check_size(form: FormReader, size_bytes: int) -> None:
    """Hold what came so far against the purpose, if that has come. Raises `FileTooLarge`."""
    purpose = form.fields.get("purpose")
    bytes_max = BYTES_MAX[Purpose(purpose)] if purpose in BYTES_MAX else max(BYTES_MAX.values())
    if size_bytes > bytes_max:
        raise FileTooLarge(bytes_max)


def of_store(handler: Handler) -> Handler:
    """A handler that answers 503 where the store does not work, and 429 where a project's files are too many."""

    @wraps(handler)
    async def answer(exchange: Exchange, **names: str) -> None:
        try:
            await handler(exchange, **names)
        except QuotaReached:
            raise StorageFull from None
        except StoreFailed as error:
            logger.error("files: %s", error)
            if exchange.started:
                raise
            raise FilesUnavailable from error

    return answer
