import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from accounting.key import KeyRecord, Scope, mint
from deployments.gateway import keys as keys_module
from deployments.gateway.errors import GatewayError, InvalidKey, LedgerUnavailable, NotAllowed
from deployments.gateway.keys import Keys, keep_fresh
from deployments.ledger.client import NoAnswer

NOW_MS = 1_000_000
KEY, RECORD = mint("org", "project", "test", (Scope.INFERENCE,))


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


async def test_records_stay_in_use_while_the_ledger_cannot_tell(monkeypatch: pytest.MonkeyPatch):
    """A refresh that failed is followed by the next one."""
    monkeypatch.setattr(keys_module, "REFRESH_EVERY_S", 0.0)
    told = iter([[RECORD], NoAnswer("disk"), ValueError("nonsense"), []])
    asked: list[KeyRecord | None] = []
    known = Keys(lambda: NOW_MS)

    class Ledger:
        async def ask(self, about: str) -> list[KeyRecord]:
            asked.append(known._by_sha256.get(RECORD.sha256))
            answer = next(told, asyncio.CancelledError())
            if isinstance(answer, BaseException):
                raise answer
            return answer

    with suppress(asyncio.CancelledError):
        await keep_fresh(known, Ledger())
    assert asked == [None, RECORD, RECORD, RECORD, None]


def test_a_refresh_replaces_all_records():
    """A key that is gone from the ledger stops working, one that is new starts to."""
    key, record = mint("org", "project", "new", (Scope.INFERENCE,))
    known = keys(RECORD)
    known.replace([record])
    assert known.authenticate(f"Bearer {key}", None) == record
    with pytest.raises(InvalidKey):
        known.authenticate(f"Bearer {KEY}", None)
