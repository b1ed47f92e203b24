"""What an export asks of a ledger."""

from typing import Any, Protocol

from accounting.price import Price
from accounting.store import Balance, Entry


class Ledger(Protocol):
    """The questions of `accounting.store.Store` that an export needs; a live ledger is only ever asked."""

    def entries(self, after_seq: int, limit: int) -> list[Entry]: ...

    def records(self, what: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]: ...

    def generation(self, request_id: str) -> dict[str, Any] | None: ...

    def balances(self) -> list[Balance]: ...

    def prices(self) -> list[Price]: ...
