import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from accounting.key import KeyRecord, Scope, mint
from accounting.questions import KeyChanges, Listing
from accounting.store import KeyChange, Place
from deployments.gateway import keys as keys_module
from deployments.gateway.errors import GatewayError, InvalidKey, LedgerUnavailable, NotAllowed
from deployments.gateway.keys import Keys, keep_fresh
from deployments.ledger.client import NoAnswer

NOW_MS = 1_000_000
KEY, RECORD = mint("org", "project", "test", (Scope.INFERENCE,))
_, OTHER = mint("org", "project", "other", (Scope.INFERENCE,))


def keys(*records: KeyRecord) -> Keys:
    known = Keys(lambda: NOW_MS)
    known.replace(records)
    return known


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer {KEY}", f"Bearer {KEY} ", f"Bearer   {KEY}"])
def test_a_key_is_known_by_its_hash(authorization: str):
    """The whole key opens; the records hold its hash only."""
    assert keys(RECORD).authenticate(authorization, Scope.INFERENCE) == RECORD
    assert KEY not in repr(RECORD)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        "Bearer sk-other",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer\t{KEY}",
    ],
)
def test_missing_malformed_and_unknown_keys_are_told_the_same(authorization: str | None):
    """Nobody learns from the answer which part of a key was right."""
    with pytest.raises(InvalidKey):
        keys(RECORD).authenticate(authorization, None)


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (replace(RECORD, revoked_at_ms=1), InvalidKey),
        (replace(RECORD, expires_at_ms=NOW_MS), InvalidKey),
        (replace(RECORD, expires_at_ms=NOW_MS + 1), None),
        (replace(RECORD, scopes=(Scope.MANAGE,)), NotAllowed),
        (replace(RECORD, scopes=()), NotAllowed),
    ],
)
def test_a_record_decides_what_its_key_may_do(record: KeyRecord, error: type[GatewayError] | None):
    """Revoked and expired keys do not work; a working key needs the scope."""
    if error is None:
        assert keys(record).authenticate(f"Bearer {KEY}", Scope.INFERENCE) is record
    else:
        with pytest.raises(error):
            keys(record).authenticate(f"Bearer {KEY}", Scope.INFERENCE)


def test_any_working_key_will_do_where_no_scope_is_asked_for():
    """The list of models is open to every key."""
    assert keys(replace(RECORD, scopes=())).authenticate(f"Bearer {KEY}", None)


@pytest.mark.parametrize("authorization", [None, f"Bearer {KEY}"])
def test_without_records_it_is_our_fault(authorization: str | None):
    """Until key records were loaded nobody is refused as unknown: 503, never 401."""
    with pytest.raises(LedgerUnavailable):
        Keys(lambda: NOW_MS).authenticate(authorization, None)


class Ledger:
    """A connection over which key changes are told, a page for each of these; an exception is raised."""

    def __init__(self, *told: list[KeyChange] | BaseException) -> None:
        self.told = list(told)
        self.asked: list[Place] = []
        self.connections = 1

    async def asked_again(self) -> None:
        """Return when what is to be told now was told, and more was asked for."""
        count = len(self.asked)
        for _ in range(1_000):
            if len(self.asked) < count + 2:
                await asyncio.sleep(0)

    async def pages(self, listing: Listing[KeyChange], after: Place = ()) -> AsyncIterator[list[KeyChange]]:
        assert listing == KeyChanges()
        self.asked.append(after)
        told, self.told = self.told, []
        for page in told:
            if isinstance(page, BaseException):
                raise page
            yield page


def known(keys: Keys) -> list[str]:
    return [record.id for record in keys.all()]


async def test_records_are_read_once_and_then_what_has_changed():
    """Page by page, behind the last change that was seen."""
    changed = replace(RECORD, scopes=(Scope.MANAGE,))
    other = replace(OTHER, created_at_ms=RECORD.created_at_ms + 1)
    ledger, keys = Ledger([KeyChange(1, RECORD)], [KeyChange(2, other)]), Keys(lambda: NOW_MS)
    await keys.refresh(ledger)
    assert known(keys) == [RECORD.id, other.id]
    await keys.refresh(ledger)
    ledger.told = [[KeyChange(3, changed)]]
    await keys.refresh(ledger)
    await keys.refresh(ledger)
    assert ledger.asked == [(), (2,), (2,), (3,)]
    assert known(keys) == [RECORD.id, other.id]
    assert keys.authenticate(f"Bearer {KEY}", Scope.MANAGE) is changed
    assert keys.find(RECORD.id) is changed
    assert keys.find("key_none") is None


async def test_a_new_connection_may_be_to_another_ledger():
    """So everything is read anew, and what is not there any more does not work."""
    ledger, keys = Ledger([KeyChange(7, RECORD)]), Keys(lambda: NOW_MS)
    await keys.refresh(ledger)
    ledger.connections, ledger.told = 2, [[KeyChange(1, OTHER)]]
    await keys.refresh(ledger)
    assert ledger.asked == [(), ()]
    assert known(keys) == [OTHER.id]


async def test_records_stay_in_use_while_the_ledger_cannot_tell(monkeypatch: pytest.MonkeyPatch):
    """Half of them are none; a refresh that failed is followed by the next one, from the beginning."""
    monkeypatch.setattr(keys_module, "REFRESH_EVERY_S", 0.0)
    ledger, keys = Ledger([KeyChange(1, RECORD)], NoAnswer("disk")), Keys(lambda: NOW_MS)
    refreshing = asyncio.create_task(keep_fresh(keys, ledger))
    await asyncio.sleep(0)
    assert not keys.loaded
    ledger.told = [[KeyChange(1, RECORD)]]
    await ledger.asked_again()
    assert keys.loaded
    ledger.told = [ValueError("nonsense")]
    await ledger.asked_again()
    assert known(keys) == [RECORD.id]
    refreshing.cancel()
    await asyncio.gather(refreshing, return_exceptions=True)


def test_a_refresh_replaces_all_records():
    """A key that is gone from the ledger stops working, one that is new starts to."""
    key, record = mint("org", "project", "new", (Scope.INFERENCE,))
    known = keys(RECORD)
    known.replace([record])
    assert known.authenticate(f"Bearer {key}", None) == record
    with pytest.raises(InvalidKey):
        known.authenticate(f"Bearer {KEY}", None)
