"""Whoever has the admin key."""

from typing import Any

import orjson

from tests.gateway.client import Client
from tests.gateway.house import House


async def call(house: House, method: str, path: str, key: str | None = None, **fields: Any) -> Client:
    """An administrative call; `fields` are its body."""
    body = orjson.dumps(fields) if method in ("POST", "PUT", "PATCH") else b""
    return await Client(body, key or house.admin_key, f"/v1/admin{path}", method).ask(house.app)


async def done(house: House, method: str, path: str, **fields: Any) -> Any:
    """What a call that works is answered with."""
    client = await call(house, method, path, **fields)
    assert client.status == 200, client.json
    return client.json


def told(client: Client) -> tuple[int, str | None]:
    """Status and field of a refusal."""
    return client.status, client.error["param"]
