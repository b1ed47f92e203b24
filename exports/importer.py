"""An export, read back into an empty ledger."""

from collections.abc import Iterator

from accounting.store import Entry, Store
from exports import entries
from exports.chain import read, verify
from exports.errors import Damaged
from exports.manifest import Manifest
from exports.target import Target


def import_ledger(target: Target, store: Store) -> list[Manifest]:
    """Rebuild every line, balance and price as of the last day exported, in one transaction, after all of it was verified.
    Requests, keys and budgets are not in an export. Returns the manifests.

    Raises `Damaged`, `Gap` or `TargetFailed`; `StoreError` if the store is not empty.
    """
    manifests = verify(target)
    accounts = {account.id: account for manifest in manifests for account in manifest.accounts}
    prices = {(price.model, price.version): price for manifest in manifests for price in manifest.prices}
    store.restore(list(accounts.values()), list(prices.values()), _entries(target, manifests))
    return manifests


def _entries(target: Target, manifests: list[Manifest]) -> Iterator[Entry]:
    for part in (part for manifest in manifests for part in manifest.parts):
        try:
            yield from entries.decode(read(target, part.entries))
        except entries.NotEntries as error:
            raise Damaged(f"{part.entries.key} has lines that are none; restore it from a copy") from error
