"""Keys: made, listed, changed, revoked, rotated. A key itself is shown once, in the answer that makes it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from accounting.command import AddKey, ChangeKey, RotateKey
from accounting.key import KeyRecord, Scope, mint
from accounting.limits import NO_LIMITS, RateLimits
from catalog import Catalog
from deployments.gateway.admin.call import Answer, Call
from deployments.gateway.admin.shape import listed, seconds
from deployments.gateway.desk import Desk
from deployments.gateway.errors import BadRequest, Conflict, NothingOfThatName
from deployments.gateway.form import Currency, Dollars, Form, Id, Name, Ref, UnixSeconds, read_body
from deployments.gateway.keys import Keys

GRACE_S_DEFAULT = 86_400
GRACE_S_MAX = 30 * 86_400


def _separate(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    if Scope.MANAGE in scopes and Scope.INFERENCE in scopes:
        raise ValueError("a key that manages cannot infer, so make two keys")
    return scopes


Scopes = Annotated[tuple[Scope, ...], Field(min_length=1), AfterValidator(_separate)]
Count = Annotated[int, Field(gt=0, le=10**9)]


class Limits(Form):
    """As `accounting.limits.RateLimits`; null: none."""

    requests_per_minute: Count | None = None
    images_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrency: Count | None = None


class NewKey(Form):
    """`models`: by any of their names; none: all. `org`: the caller's, if none is given. A `ref` that is sent again makes no
    second key.
    """

    name: Name
    org: Id | None = None
    project: Id = "default"
    scopes: Scopes = (Scope.INFERENCE, Scope.USAGE)
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    expires_at: UnixSeconds | None = None
    credit_nano: Annotated[Dollars | None, Field(alias="credit_usd")] = None
    currency: Currency = "usd"
    ref: Ref | None = None


class KeyChange(Form):
    """What is not sent stays as it is."""

    name: Name = ""
    scopes: Scopes = ()
    models: tuple[str, ...] = ()
    limits: Limits = Limits()
    expires_at: UnixSeconds | None = None


class Rotation(Form):
    """For how long the old key goes on working. The new one expires as the old one did, or at `expires_at`."""

    grace_seconds: Annotated[int, Field(ge=0, le=GRACE_S_MAX)] = GRACE_S_DEFAULT
    expires_at: UnixSeconds | None = None


class KeyAdmin:
    """Of every organisation. A change is known at once in this gateway, in others within seconds."""

    def __init__(self, desk: Desk, keys: Keys, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._desk = desk
        self._keys = keys
        self._catalog = catalog
        self._now_ms = now_ms

    def calls(self) -> Iterator[tuple[str, str, Answer]]:
        yield "POST", "/keys", self.create
        yield "GET", "/keys", self.listing
        yield "GET", "/keys/{key_id}", self.read
        yield "PATCH", "/keys/{key_id}", self.change
        yield "DELETE", "/keys/{key_id}", self.revoke
        yield "POST", "/keys/{key_id}/rotate", self.rotate

    async def create(self, call: Call) -> dict[str, Any]:
        asked = read_body(NewKey, call.body)
        key, minted = mint(asked.org or call.by.org_id, asked.project, asked.name, asked.scopes, asked.ref)
        record = replace(minted, **self._fields(asked.model_dump(), NO_LIMITS))
        await self._desk.carry_out(AddKey(record, credit_nano=asked.credit_nano or 0, by=call.by.id))
        stored = await self._record(record.id)
        if stored.sha256 != record.sha256:
            raise Conflict(
                "A key was made with this ref before, and shown then. If it is lost, rotate it.", param="ref"
            )
        return self._object(stored) | {"key": key}

    async def listing(self, call: Call) -> dict[str, Any]:
        await self._keys.refresh(self._desk)
        return listed(map(self._object, self._keys.all()))

    async def read(self, call: Call, key_id: str) -> dict[str, Any]:
        return self._object(await self._record(key_id))

    async def change(self, call: Call, key_id: str) -> dict[str, Any]:
        asked = read_body(KeyChange, call.body)
        record = await self._record(key_id)
        if record.revoked_at_ms is not None:
            raise Conflict("This key is revoked, for good. Make a new one.")
        if record.rotated_to is not None:
            raise Conflict("This key was rotated. Change the one that took its place.")
        changed = replace(record, **self._fields(asked.model_dump(exclude_unset=True), record.limits))
        await self._desk.carry_out(ChangeKey(changed, by=call.by.id))
        return self._object(await self._record(key_id))

    async def revoke(self, call: Call, key_id: str) -> dict[str, Any]:
        record = await self._record(key_id)
        if record.revoked_at_ms is None:
            await self._desk.carry_out(ChangeKey(replace(record, revoked_at_ms=self._now_ms()), by=call.by.id))
        return self._object(await self._record(key_id))

    async def rotate(self, call: Call, key_id: str) -> dict[str, Any]:
        asked = read_body(Rotation, call.body)
        record = await self._record(key_id)
        state = key_state(record, self._now_ms())
        if state != "working":
            raise Conflict(f"This key is {state}. Only a working key can be rotated.")
        key, minted = mint(record.org_id, record.project_id, record.name, ())
        expires_at_ms = record.expires_at_ms if asked.expires_at is None else self._future_ms(asked.expires_at)
        successor = replace(
            record, id=minted.id, sha256=minted.sha256, root_id=record.root, expires_at_ms=expires_at_ms
        )
        await self._desk.carry_out(
            RotateKey(key_id=record.id, successor=successor, grace_ms=asked.grace_seconds * 1000, by=call.by.id)
        )
        return self._object(await self._record(successor.id)) | {"key": key}

    async def _record(self, key_id: str) -> KeyRecord:
        """As the ledger has it now. Raises `NothingOfThatName`."""
        await self._keys.refresh(self._desk)
        if record := self._keys.find(key_id):
            return record
        raise NothingOfThatName("key")

    def _fields(self, sent: dict[str, Any], limits: RateLimits) -> dict[str, Any]:
        """What was sent, as fields of a record; `limits` are those that it has. Raises `BadRequest`."""
        fields: dict[str, Any] = {name: sent[name] for name in ("name", "scopes") if name in sent}
        if "models" in sent:
            fields["models"] = tuple(self._served_name(*model) for model in enumerate(sent["models"]))
        if "limits" in sent:
            fields["limits"] = replace(limits, **sent["limits"])
        if "expires_at" in sent:
            fields["expires_at_ms"] = sent["expires_at"] and self._future_ms(sent["expires_at"])
        return fields

    def _served_name(self, index: int, name: str) -> str:
        card = self._catalog.find(name)
        if card is None:
            raise BadRequest(
                f"'models[{index}]': no model of that name is served here. GET /v1/models lists them.",
                param=f"models[{index}]",
            )
        return card.served_name

    def _future_ms(self, at_s: int) -> int:
        if at_s * 1000 <= self._now_ms():
            raise BadRequest("'expires_at' is in the past. To end a key now, revoke it.", param="expires_at")
        return at_s * 1000

    def _object(self, record: KeyRecord) -> dict[str, Any]:
        return key_object(record, self._now_ms())


def key_object(record: KeyRecord, now_ms: int) -> dict[str, Any]:
    """What is shown of a key. Times are seconds."""
    return {
        "object": "key",
        "id": record.id,
        "name": record.name,
        "state": key_state(record, now_ms),
        "org": record.org_id,
        "project": record.project_id,
        "scopes": record.scopes,
        "models": record.models,
        "limits": record.limits.given(),
        "created_at": record.created_at_ms // 1000,
        "expires_at": seconds(record.expires_at_ms),
        "revoked_at": seconds(record.revoked_at_ms),
        "rotated_to": record.rotated_to,
        "root": record.root,
    }


def key_state(record: KeyRecord, now_ms: int) -> str:
    """One word. A rotated key works until it expires."""
    if record.revoked_at_ms is not None:
        return "revoked"
    if not record.works_at(now_ms):
        return "expired"
    return "rotated" if record.rotated_to else "working"
