"""Which key is calling: a local map of key records, refreshed from the ledger, so that no request waits for a store."""

import asyncio
from collections.abc import Callable, Iterable

from accounting.key import PREFIX, KeyRecord, Scope, sha256
from deployments.gateway.errors import InvalidKey, LedgerUnavailable, NotAllowed
from deployments.ledger.client import LedgerClient
from deployments.log import logger_for

logger = logger_for(__name__)

REFRESH_EVERY_S = 2.0


class Keys:
    """Key records by hash. Empty until `replace` was called once: `loaded` tells."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._by_sha256: dict[str, KeyRecord] = {}
        self._by_id: dict[str, KeyRecord] = {}
        self.loaded = False

    def replace(self, records: Iterable[KeyRecord]) -> None:
        self._by_id = {record.id: record for record in records}
        self._by_sha256 = {record.sha256: record for record in self._by_id.values()}
        self.loaded = True

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


async def keep_fresh(keys: Keys, ledger: LedgerClient) -> None:
    """Reload the key records until cancelled; while the ledger is away, the last ones stay in use."""
    while True:
        try:
            keys.replace(await ledger.ask("keys"))
        except Exception as error:  # noqa: BLE001  # a refresh that ends for good would keep revoked keys working
            logger.warning("key records not refreshed: %s: %s", type(error).__name__, error)
        await asyncio.sleep(REFRESH_EVERY_S)
