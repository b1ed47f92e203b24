"""A ledger with a clock that a test sets; everything in it has happened through commands."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path

from accounting.command import AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Refund, Reply
from accounting.price import Price
from accounting.sqlite import SqliteStore
from accounting.store import Entry, Store
from exports import export
from exports.manifest import Manifest
from exports.target import Target

SUNDAY, MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 11, day) for day in range(15, 21))
PRICE = Price(model="m", version=1, unit_nano=1_341_000, batch_unit_nano=670_500, basis='{"source": "a test"}')
TRIED = Attempt(
    replica_id="replica_1",
    finish="stop",
    images=2,
    text_tokens=64,
    vision_tokens=2_392,
    cached_tokens=16,
    output_tokens=700,
    ttft_ms=80,
    latency_ms=900,
)
# Images of one and of three units, and up to two units of output.
HOLD = Hold(
    request_id="r1",
    gateway_id="gw_1",
    key_id="key_1",
    org_id="acme",
    project_id="scans",
    model="m",
    price_version=1,
    tier="default",
    image_units=(1, 3),
    output_units=2,
    tokens_max=4_000,
    amount_nano=6 * PRICE.unit_nano,
    body_sha="sha",
    expires_in_ms=60_000,
    user_id="user_7",
    metadata='{"team": "blue"}',
)
# 700 tokens of output: one unit more than the images.
POST = Post(request_id="r1", attempt=1, charged_nano=5 * PRICE.unit_nano, outcome=Outcome.COMPLETE, record=TRIED)


class Books:
    def __init__(self, store: Store, clock: "Clock") -> None:
        self.store = store
        self.clock = clock
        self._numbers = count()

    def do(self, *commands: Command) -> list[Reply]:
        return self.store.apply(commands)

    def at(self, day: date, hour: float = 12) -> "Books":
        self.clock.ms = start_ms(day) + round(hour * 3_600_000)
        return self

    def grant(self, amount_nano: int = 10**9) -> None:
        self.do(Grant(ref=f"grant {next(self._numbers)}", account="credit:acme", amount_nano=amount_nano))

    def charge(self, request_id: str, charged_nano: int = POST.charged_nano) -> None:
        self.do(replace(HOLD, request_id=request_id), replace(POST, request_id=request_id, charged_nano=charged_nano))

    def refund(self, ref: str, request_id: str, amount_nano: int = PRICE.unit_nano) -> None:
        self.do(Refund(ref=ref, request_id=request_id, amount_nano=amount_nano, reason="blurred"))

    def entries(self) -> list[Entry]:
        return self.store.entries(0, 1_000_000)

    def posted(self) -> dict[str, int]:
        """The balance of every account that was ever used."""
        return posted(self.store)

    def export(self, target: Target, first: date, last: date, part_rows_max: int = 1_000) -> list[Manifest]:
        """Export as somebody would on the ledger's present day."""
        today = datetime.fromtimestamp(self.clock.ms / 1000, UTC).date()
        return export(self.store, target, first, last, today=lambda: today, part_rows_max=part_rows_max)


class Clock:
    ms = 0

    def __call__(self) -> int:
        return self.ms


def posted(store: Store) -> dict[str, int]:
    used = {entry.account for entry in store.entries(0, 1_000_000)}
    return {balance.account: balance.posted_nano for balance in store.balances() if balance.account in used}


def start_ms(day: date) -> int:
    return round(
        (datetime(day.year, day.month, day.day, tzinfo=UTC) - datetime.fromtimestamp(0, UTC))
        / timedelta(milliseconds=1)
    )


@contextmanager
def running_books(folder: Path) -> Iterator[Books]:
    """A new ledger in a file."""
    clock = Clock()
    with closing(SqliteStore(folder / "ledger.db", clock)) as store:
        yield opened(store, clock)


def opened(store: Store, clock: Clock) -> Books:
    """With a price, on Monday morning."""
    books = Books(store, clock).at(MONDAY, 8)
    books.do(AddPrice(PRICE))
    return books


def until_thursday(books: Books) -> Books:
    """There was a grant and a charge on Monday, two charges on Tuesday, nothing on Wednesday; now it is Thursday."""
    books.grant()
    books.charge("r1")
    books.at(TUESDAY).charge("r2")
    books.at(TUESDAY, 13).charge("r3")
    return books.at(THURSDAY)
