import pytest

from tests.gateway.admin.operator import call, done
from tests.gateway.client import Client
from tests.gateway.house import House

CALLS = [
    ("POST", "/keys"),
    ("GET", "/keys"),
    ("GET", "/keys/key_1"),
    ("PATCH", "/keys/key_1"),
    ("DELETE", "/keys/key_1"),
    ("POST", "/keys/key_1/rotate"),
    ("GET", "/budgets"),
    ("GET", "/budgets/org:org/day"),
    ("PUT", "/budgets/org:org/day"),
    ("DELETE", "/budgets/org:org/day"),
    ("POST", "/credits"),
    ("POST", "/refunds"),
    ("GET", "/balances"),
    ("GET", "/audit"),
    ("GET", "/cost"),
    ("GET", "/scaling"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_every_call_is_for_keys_that_manage(house: House, method: str, path: str):
    """A plain key is refused before anything is read."""
    client = await call(house, method, path, key=house.key)
    assert (client.status, client.error["code"]) == (403, "scope_not_allowed")


async def test_a_stranger_is_told_as_everywhere(house: House):
    """401, whatever is wrong with the key."""
    assert (await call(house, "GET", "/keys", key="sk-vlm-x")).status == 401


async def test_a_method_that_is_not_there_is_refused_with_those_that_are(house: House):
    """In the message and in `Allow`."""
    client = await call(house, "POST", "/budgets/org:org/day")
    assert client.status == 405
    assert client.headers["allow"] == "GET, HEAD, PUT, DELETE"


async def test_a_body_is_bounded(house: House):
    """64 KiB hold any of them."""
    client = await call(house, "POST", "/keys", name="a" * 70_000)
    assert client.status == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[]"])
async def test_a_body_is_a_json_object(house: House, body: bytes):
    """Anything else is a 400."""
    client = await Client(body, house.admin_key, "/v1/admin/keys").ask(house.app)
    assert client.status == 400


async def test_a_ledger_that_is_away_is_a_503(house: House):
    """Never an empty list."""
    await house.ledger.close(0)
    client = await call(house, "GET", "/budgets")
    assert (client.status, client.error["code"]) == (503, "ledger_unavailable")
    assert client.headers["retry-after"] == "1"


async def test_what_is_written_is_in_the_audit_log(house: House):
    """With the key that wrote it."""
    await done(house, "POST", "/credits", ref="r", org="org", amount_usd="1", reason="thanks")
    newest = (await done(house, "GET", "/audit"))["data"][0]
    by = next(record.id for record in house.keys.all() if record.name == "admin")
    assert (newest["by"], newest["action"], newest["content"]["reason"]) == (by, "grant", "thanks")
