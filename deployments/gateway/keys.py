"""Which key is calling: a local map of key records, refreshed from the ledger, so that no request waits for a store.

Of many keys only those travel that have changed, and they come in pages.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from operator import attrgetter
from typing import Protocol, TypeVar

from accounting import questions
from accounting.key import PREFIX, KeyRecord, Scope, sha256
from accounting.questions import Listing
from accounting.store import KeyChange, Place
from deployments.gateway.errors import InvalidKey, LedgerUnavailable, NotAllowed
from deployments.log import logger_for

logger = logger_for(__name__)

REFRESH_EVERY_S = 2.0

R = TypeVar("R")


class Ledger(Protocol):
    """`LedgerClient` or `Desk`."""

    @property
    def connections(self) -> int: ...

    def pages(self, listing: Listing[R], after: Place = ()) -> AsyncIterator[list[R]]: ...


class Keys:
    """Key records by hash. Empty until they were read once: `loaded` tells."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._by_sha256: dict[str, KeyRecord] = {}
        self._by_id: dict[str, KeyRecord] = {}
        self._seen: Place = ()  # the place of the last change
        self._connection = 0
        self._refreshing = asyncio.Lock()
        self.loaded = False

    def replace(self, records: Iterable[KeyRecord]) -> None:
        """These, and no others."""
        self._by_id = {record.id: record for record in records}
        self._by_sha256 = {record.sha256: record for record in self._by_id.values()}
        self.loaded = True

    def add(self, changes: list[KeyChange]) -> None:
        """Those that follow the last ones."""
        for change in changes:
            self._by_id[change.record.id] = self._by_sha256[change.record.sha256] = change.record
            self._seen = (change.seq,)

    async def refresh(self, ledger: Ledger) -> None:
        """Read what has changed; everything after a new connection, which may be to another ledger. Raises `NoAnswer` or
        `LedgerUnavailable`; the records of before stay in use.
        """
        async with self._refreshing:
            connection = ledger.connections
            if self.loaded and connection == self._connection:
                async for page in ledger.pages(questions.KeyChanges(), self._seen):
                    self.add(page)
                return
            fresh = Keys(self._now_ms)
            async for page in ledger.pages(questions.KeyChanges()):
                fresh.add(page)
            self._by_id, self._by_sha256, self._seen = fresh._by_id, fresh._by_sha256, fresh._seen
            self._connection, self.loaded = connection, True

    def all(self) -> list[KeyRecord]:
        """Every record, oldest first."""
        return sorted(self._by_id.values(), key=attrgetter("created_at_ms", "id"))

    def find(self, key_id: str) -> KeyRecord | None:
        """The record of a key, working or not."""
        return self._by_id.get(key_id)

    def authenticate(self, authorization: str | None, scope: Scope | None) -> KeyRecord:
        """The record of the caller's key. `scope` None: any working key. Raises `InvalidKey` or `NotAllowed`.

        Raises `LedgerUnavailable` as long as no records could be loaded: a fault of ours is never a 401.
        """
        if not self.loaded:
            raise LedgerUnavailable
        kind, _, key = (authorization or "").partition(" ")
        key = key.strip(" ")
        if kind.lower() != "bearer" or not key.startswith(PREFIX):
            raise InvalidKey
        return self._working(self._by_sha256.get(sha256(key)), scope)

    def of_id(self, key_id: str, scope: Scope) -> KeyRecord:
        """The record of a key that was the caller's when it asked, and must be working still. Raises as `authenticate`."""
        if not self.loaded:
            raise LedgerUnavailable
        return self._working(self._by_id.get(key_id), scope)

    def _working(self, record: KeyRecord | None, scope: Scope | None) -> KeyRecord:
        if record is None or not record.works_at(self._now_ms()):
            raise InvalidKey
        if scope is not None and scope not in record.scopes:
            raise NotAllowed(scope)
        return record


async def keep_fresh(keys: Keys, ledger: Ledger) -> None:
    """Refresh the key records until cancelled; while the ledger is away, the last ones stay in use."""
    while True:
        try:
            await keys.refresh(ledger)
        except Exception as error:  # noqa: BLE001  # a refresh that ends for good would keep revoked keys working
            logger.warning("key records not refreshed: %s: %s", type(error).__name__, error)
        await asyncio.sleep(REFRESH_EVERY_S)
