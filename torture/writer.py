"""A ledger's writer, as `LedgerWriter` runs it, without Ray."""

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import TypeAlias

import orjson

from accounting.postgres import PostgresStore
from accounting.sqlite import SqliteStore
from accounting.store import Store, StoreError
from deployments.ledger.client import Address
from deployments.ledger.server import LedgerServer
from deployments.secret import new_secret

logger = logging.getLogger(__name__)

# A SQLite file, or what libpq takes for a PostgreSQL database.
Where: TypeAlias = Path | str

OPEN_AGAIN_S = 0.1


async def serve(where: Where, host: str, address_file: Path, late_ms: int) -> None:
    """Serve the store until killed. Its clock is `late_ms` ahead: so holds expire without anyone having to wait.

    What has expired is swept at once, as the server does every second.
    """
    store = await _open_at_last(where, late_ms)
    token = new_secret()
    server = LedgerServer(store, token)
    write_address(address_file, Address(host, await server.start(host), token))
    await asyncio.Event().wait()


async def _open_at_last(where: Where, late_ms: int) -> Store:
    """Serve starts a writer again that fails to start: the database may have been killed, too."""
    while True:
        try:
            store = open_late(where, late_ms)
            store.sweep()
        except StoreError as error:
            logger.warning("not yet: %s", error)
            await asyncio.sleep(OPEN_AGAIN_S)
        else:
            return store


def open_late(where: Where, late_ms: int) -> Store:
    """A store whose clock is ahead. Raises `StoreError`."""
    now_ms = partial(clock_ms, late_ms)
    return SqliteStore(where, now_ms) if isinstance(where, Path) else PostgresStore(where, now_ms)


def clock_ms(late_ms: int) -> int:
    """Milliseconds UTC, and so many more."""
    return time.time_ns() // 1_000_000 + late_ms


def write_address(file: Path, address: Address) -> None:
    """Tell gateways where to connect; at no moment is the file half written."""
    draft = file.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(address))
    draft.replace(file)


def read_address(file: Path) -> Address:
    """Where the writer listened last. Raises `OSError` before it ever did."""
    return Address(**orjson.loads(file.read_bytes()))
