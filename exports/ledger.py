"""What an export asks of a ledger."""

from typing import Any, Protocol

from accounting.price import Price
from accounting.request import Generation
from accounting.store import AuditLine, Balance, Entry


class Ledger(Protocol):
    """The questions of `accounting.store.Store` that an export needs; a live ledger is only ever asked."""

    def entries(self, after_seq: int, limit: int) -> list[Entry]: ...

    def ended_requests(self, from_ms: int, to_ms: int) -> list[dict[str, Any]]: ...

    def audit(self, from_ms: int, to_ms: int) -> list[AuditLine]: ...

    def generation(self, request_id: str) -> Generation | None: ...

    def balances(self) -> list[Balance]: ...

    def prices(self) -> list[Price]: ...
