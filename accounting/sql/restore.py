"""An empty ledger, rebuilt from what was exported of another."""

from collections.abc import Iterable, Sequence
from itertools import islice

from accounting.command import AddPrice, Result
from accounting.price import Price
from accounting.sql.books import add_price, note
from accounting.sql.database import Database, Refused
from accounting.store import Account, Entry, StoreError

RESTORE = "restore"  # in the audit log
# Entries come from afar: a transaction must not idle until the last has arrived.
BATCH = 10_000


def restore(db: Database, accounts: Sequence[Account], prices: Sequence[Price], entries: Iterable[Entry]) -> None:
    """See `Store.restore`."""
    if db.one("SELECT 1 FROM entry LIMIT 1"):
        raise StoreError("this ledger is in use; import into a new one")
    for price in prices:
        if add_price(db, AddPrice(price)).result is Result.EXISTS_WITH_DIFFERENT_CONTENT:
            raise StoreError(
                f"version {price.version} of the price of {price.model} is another here; import into a new ledger"
            )
    try:
        _book(db, accounts, entries)
    except Refused as refused:
        raise StoreError("these lines are not those of one ledger; export it again") from refused
    (last_seq,) = db.one("SELECT coalesce(max(seq), 0) FROM entry") or (0,)
    note(db, "operator", RESTORE, {"last_seq": last_seq})


def _book(db: Database, accounts: Sequence[Account], entries: Iterable[Entry]) -> None:
    """Limits come last: on the way to its balance an account may pass them."""
    db.many(
        "INSERT INTO account (id, kind) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(account.id, account.kind) for account in accounts],
    )
    lines = iter(entries)
    while batch := list(islice(lines, BATCH)):
        db.many(
            "INSERT INTO entry (seq, kind, ref, account_id, amount_nano, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
            [(line.seq, line.kind, line.ref, line.account, line.amount_nano, line.at_ms) for line in batch],
        )
    db.change(
        "UPDATE account SET posted_nano ="
        " (SELECT coalesce(sum(amount_nano), 0) FROM entry WHERE entry.account_id = account.id)"
    )
    db.many(
        "UPDATE account SET wanted_nano = ?, limit_nano = CASE WHEN posted_nano > ? THEN posted_nano ELSE ? END WHERE id = ?",
        [(account.limit_nano, account.limit_nano, account.limit_nano, account.id) for account in accounts],
    )
