import re
from dataclasses import replace

import pytest

from accounting.key import KeyRecord, Scope, mint, sha256

RECORD = KeyRecord(
    id="key_1", sha256="0" * 64, org_id="org", project_id="project", name="laptop", scopes=(Scope.INFERENCE,)
)


def test_a_key_has_a_public_and_a_secret_part():
    """The public part names the record."""
    key, record = mint("org", "project", "laptop", (Scope.INFERENCE, Scope.USAGE))
    parts = re.fullmatch(r"sk-vlm-([0-9A-Za-z]{12})-[0-9A-Za-z]{48}", key)
    assert parts
    assert record.id == f"key_{parts[1]}"
    assert (record.org_id, record.project_id, record.name) == ("org", "project", "laptop")
    assert record.scopes == ("inference", "usage:read")


def test_a_record_does_not_hold_the_secret():
    """Only a hash of the whole key is stored."""
    key, record = mint("org", "project", "laptop", (Scope.INFERENCE,))
    assert record.sha256 == sha256(key)
    assert key.rpartition("-")[2] not in repr(record)


def test_keys_differ():
    """Two keys with the same owner and name share neither secret nor id."""
    (key, record), (other_key, other_record) = (mint("org", "project", "laptop", ()) for _ in range(2))
    assert key != other_key
    assert record.id != other_record.id


def test_one_ref_is_one_id():
    """With a secret of its own each time."""
    (key, record), (again, same), (_, other) = (mint("org", "project", "x", (), ref) for ref in ("r", "r", "s"))
    assert re.fullmatch(r"key_[0-9A-Za-z]{12}", record.id)
    assert record.id == same.id != other.id
    assert key != again


@pytest.mark.parametrize(
    ("expires_at_ms", "revoked_at_ms", "now_ms", "works"),
    [
        (None, None, 1_000, True),
        (1_000, None, 999, True),
        (1_000, None, 1_000, False),  # it expires at that moment, not after it
        (None, 500, 1_000, False),
        (1_000, 500, 600, False),
    ],
)
def test_when_a_key_works(expires_at_ms: int | None, revoked_at_ms: int | None, now_ms: int, works: bool):
    """A key works until it expires or is revoked, whichever comes first."""
    record = replace(RECORD, expires_at_ms=expires_at_ms, revoked_at_ms=revoked_at_ms)
    assert record.works_at(now_ms) is works


@pytest.mark.parametrize(
    ("models", "model", "may"), [((), "m", True), (("m",), "m", True), (("m", "n"), "n", True), (("m",), "n", False)]
)
def test_which_models_a_key_may_use(models: tuple[str, ...], model: str, may: bool):
    """Those on its list, or all if there is none."""
    assert replace(RECORD, models=models).may_use(model) is may


def test_a_rotated_key_goes_on_under_its_first_id():
    """Budgets and rate limits know a line of rotations by its first key."""
    assert RECORD.root == "key_1"
    assert replace(RECORD, id="key_2", root_id="key_1").root == "key_1"


def test_an_organisation_pays_for_its_keys():
    """The keys of an organisation draw on one credit account."""
    assert RECORD.credit_account == "credit:org"
