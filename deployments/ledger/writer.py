"""The Serve deployment that writes the ledger: one replica for a SQLite file, any number for PostgreSQL."""

import time
from pathlib import Path
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict

from accounting.budget import is_shared
from accounting.command import AddKey, AddPrice, Grant, Result
from accounting.key import Scope, mint
from accounting.price import Price
from accounting.store import Store
from accounting.stores import open_store
from deployments.ledger.client import Address
from deployments.ledger.server import LedgerServer
from deployments.log import logger_for
from deployments.private import opener, private_folder
from deployments.secret import new_secret

logger = logger_for(__name__)

ORGANISATION = "default"
PROJECT = "default"
# Free credit of the first key: a round dollar figure that no laptop uses up.
FIRST_GRANT_NANO = 100 * 10**9


class PriceChanged(Exception):
    """A card's price differs from the stored one of the same version: history would change."""


class Prices(BaseModel):
    """`user_config`: what `vlmfleet k8s render` writes of the cards, so that the ledger needs none."""

    model_config = ConfigDict(extra="forbid")

    prices: list[Price]


class LedgerWriter:
    """Opens the store, makes the first keys if there are none, and serves it."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, where: str, keys_folder: Path, prices: list[Price]
    ) -> None:
        """`where`: a SQLite file, or a `postgresql://` URL. Raises `StoreError` or `PriceChanged`."""
        private_folder(keys_folder)
        store = open_store(where, now_ms)
        publish(store, prices)
        make_first_keys(store, keys_folder)
        tell_of_shared_budgets(store)
        self._store = store
        token = new_secret()
        host = ray.util.get_node_ip_address()
        self._server = LedgerServer(store, token)
        self._address = Address(host, await self._server.start(host), token)
        self._runs = False

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Called by Serve with `user_config`: before the first request, and when a model was added or has a new price,
        which stops nothing. Raises `PriceChanged` at a start.
        """
        prices, tell = Prices.model_validate(settings).prices, publish_late if self._runs else publish
        await self._server.commits.ask(lambda store: tell(store, prices))
        self._runs = True

    async def address(self) -> Address:
        """Where gateways connect."""
        return self._address

    async def check_health(self) -> None:
        """Called by Serve; what it raises is in Serve's status."""
        self._server.check()

    async def __del__(self) -> None:
        await self._server.stop()
        self._store.close()


def publish(store: Store, prices: list[Price]) -> None:
    """Store the price version of every card. Raises `PriceChanged`."""
    for price, reply in zip(prices, store.apply([AddPrice(price) for price in prices]), strict=True):
        if reply.result is Result.EXISTS_WITH_DIFFERENT_CONTENT:
            raise PriceChanged(
                f"{price.model}: the card's price differs from version {price.version} in the ledger; "
                f"a price version never changes, so give the card price.version {price.version + 1}"
            )


def publish_late(store: Store, prices: list[Price]) -> None:
    """The same in a ledger that runs: rather than to end, it keeps its price, and says so in the log."""
    try:
        publish(store, prices)
    except PriceChanged as error:
        logger.error("%s", error)


def make_first_keys(store: Store, folder: Path) -> None:
    """In a new ledger, make a key to use the models and one to manage; only their files hold them in clear."""
    if store.keys():
        return
    records = []
    for file, scopes in (("key", (Scope.INFERENCE, Scope.USAGE)), ("admin-key", (Scope.MANAGE,))):
        key, record = mint(ORGANISATION, PROJECT, file, scopes)
        records.append(record)
        write_secret(folder / file, key)
    # Last, and at once: a start that is interrupted before makes both files anew.
    credit = Grant(ref=f"free:{ORGANISATION}", account=records[0].credit_account, amount_nano=FIRST_GRANT_NANO)
    store.apply([*map(AddKey, records), credit])


def tell_of_shared_budgets(store: Store) -> None:
    """Ask the operator whose the budgets of projects are that do not say so: an upgrade could not know."""
    for state in store.budgets():
        if is_shared(state.budget.scope):
            logger.warning(
                "the budget %s bounds the projects of that name in every organisation: `vlmfleet budgets list` says what to do",
                state.budget.scope,
            )


def write_secret(file: Path, secret: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    private_folder(file.parent)
    file.unlink(missing_ok=True)
    with open(file, "x", encoding="utf-8", opener=opener) as out:
        out.write(secret + "\n")


def now_ms() -> int:
    """The store's clock: milliseconds UTC."""
    return time.time_ns() // 1_000_000
