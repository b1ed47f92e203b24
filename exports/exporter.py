"""A ledger's closed days, written to a target: a day's objects first, its manifest last."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from accounting.store import Account, Entry
from exports import entries, focus
from exports.chain import ONE_DAY, Link, check_follows, check_intact, days_exported, find, load
from exports.charge import charges_of
from exports.errors import Differs, Gap, NotClosed
from exports.ledger import Ledger
from exports.manifest import Item, Manifest, Part, checksum, encode, key_of
from exports.table import to_csv, to_parquet
from exports.target import Target, put

# A part, its charges and their files are in memory at once.
PART_ROWS_MAX = 50_000


def today_utc() -> date:
    return datetime.now(UTC).date()


def export(
    ledger: Ledger,
    target: Target,
    first_day: date,
    last_day: date,
    *,
    today: Callable[[], date] = today_utc,
    part_rows_max: int = PART_ROWS_MAX,
) -> list[Manifest]:
    """Export each day from first to last, both included, UTC. Days that were exported before are compared with the ledger and
    left as they are; so this can be repeated at any time, also after it was killed.

    Raises `NotClosed`, `Gap`, `Differs`, `Damaged`, `UnknownRequest` or `TargetFailed`.
    """
    if last_day >= today():
        raise NotClosed(f"{last_day} is not over; export days up to {today() - ONE_DAY}")
    exported = days_exported(target)
    previous = find(target, first_day - ONE_DAY)
    if previous:
        _check_same(ledger, previous.manifest)
    links: list[Link] = []
    for number in range((last_day - first_day).days + 1):
        day = first_day + timedelta(days=number)
        if day in exported:
            link = _repeat(ledger, target, day, previous)
        else:
            _check_next(ledger, exported, day)
            link = _write(ledger, target, day, previous, part_rows_max)
            exported.append(day)
        links.append(link)
        previous = link
    return [link.manifest for link in links]


def _check_next(ledger: Ledger, exported: list[date], day: date) -> None:
    """Raise `Gap` unless the day follows those exported, or leaves out no line if it is the first."""
    if exported:
        if day != exported[-1] + ONE_DAY:
            raise Gap(f"{day} does not follow the days exported; go on with {exported[-1] + ONE_DAY}")
        return
    for first in ledger.entries(0, 1):
        if entries.day_of(first.at_ms) < day:
            raise Gap(f"the ledger begins before {day}; export from {entries.day_of(first.at_ms)} on")


def _repeat(ledger: Ledger, target: Target, day: date, previous: Link | None) -> Link:
    link = load(target, day)
    check_follows(previous, link)
    check_intact(target, link.manifest)
    _check_same(ledger, link.manifest)
    return link


def _check_same(ledger: Ledger, manifest: Manifest) -> None:
    """Raise `Differs` unless the day's lines are those of this ledger."""
    for part in manifest.parts:
        lines = ledger.entries(part.first_seq - 1, part.entries.rows)
        if checksum(entries.encode(lines)) != part.entries.sha256:
            raise Differs(f"{part.entries.key} is not what this ledger says; export each ledger to a place of its own")


def _write(ledger: Ledger, target: Target, day: date, previous: Link | None, part_rows_max: int) -> Link:
    after_seq = previous.manifest.last_seq if previous else 0
    parts: list[Part] = []
    touched: set[str] = set()
    for lines in entries.parts_of(ledger, day, after_seq, part_rows_max):
        parts.append(_write_part(ledger, target, day, lines))
        touched.update(entry.account for entry in lines)
    manifest = Manifest(
        day,
        previous_sha256=previous.sha256 if previous else None,
        after_seq=after_seq,
        last_seq=parts[-1].last_seq if parts else after_seq,
        rows=sum(part.entries.rows for part in parts),
        charged_nano=sum(part.usage_csv.amount_nano for part in parts),
        parts=tuple(parts),
        accounts=tuple(_accounts(ledger, touched)),
        prices=tuple(ledger.prices()),
        focus=focus.VERSION,
    )
    data = encode(manifest)
    put(target, key_of(day), data)
    return Link(manifest, checksum(data))


def _write_part(ledger: Ledger, target: Target, day: date, lines: list[Entry]) -> Part:
    charges = charges_of(ledger, lines)
    booked_nano = sum(entry.amount_nano for entry in lines)
    charged_nano = sum(charge.amount_nano for charge in charges)
    span = f"day={day}/{lines[0].seq:012}-{lines[-1].seq:012}"

    def item(key: str, data: bytes, rows: int, amount_nano: int) -> Item:
        put(target, key, data)
        return Item(key, rows, amount_nano, checksum(data))

    csv, parquet = (
        to_csv(focus.COLUMNS, charges, for_spreadsheets=True),
        to_parquet(focus.COLUMNS, charges, {"focus": focus.VERSION}),
    )
    return Part(
        lines[0].seq,
        lines[-1].seq,
        entries=item(f"entries/{span}.csv", entries.encode(lines), len(lines), booked_nano),
        usage_csv=item(f"usage/csv/{span}.csv", csv, len(charges), charged_nano),
        usage_parquet=item(f"usage/parquet/{span}.parquet", parquet, len(charges), charged_nano),
    )


def _accounts(ledger: Ledger, touched: set[str]) -> list[Account]:
    balances = (balance for balance in ledger.balances() if balance.account in touched)
    return [Account(id=balance.account, kind=balance.kind, limit_nano=balance.limit_nano) for balance in balances]
