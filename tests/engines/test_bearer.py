"""The door of an engine's server. Standard library only, so it is tested outside the engines' environments."""

from typing import Any

import pytest

from engines.bearer import Bearer

RIGHT = (b"authorization", b"Bearer the-token")


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_TOKEN", "the-token")


async def asked(kind: str, path: str, *headers: tuple[bytes, bytes], method: str = "POST") -> list[dict[str, Any]]:
    """What is sent back; by an application that says "inside" to whatever reaches it."""
    sent: list[dict[str, Any]] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "inside"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        pytest.fail("a body was read")

    scope = {"type": kind, "path": path, "method": method, "headers": list(headers)}
    await Bearer(inside)(scope, receive, send)
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_token_opens(kind: str):
    assert await asked(kind, "/v1/chat/completions", RIGHT) == [{"type": "inside"}]


async def test_health_is_open_to_everybody():
    assert await asked("http", "/health", method="GET") == [{"type": "inside"}]


async def test_the_servers_own_start_passes():
    """It is no request."""
    assert await asked("lifespan", "") == [{"type": "inside"}]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Bearer another")],
        [(b"authorization", b"Bearer the-token-and-more")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Basic the-token")],
        [(b"authorization", b"Bearer \xff")],
        [RIGHT, (b"authorization", b"Bearer another")],
        [(b"x-authorization", b"Bearer the-token")],
    ],
)
@pytest.mark.parametrize("path", ["/", "/invocations", "/metrics", "/health/", "//health", "/v1/health", "/HEALTH"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_anything_else_is_refused_unread(headers: list[tuple[bytes, bytes]], path: str, method: str):
    start, _ = await asked("http", path, *headers, method=method)
    assert start["status"] == 401


async def test_a_websocket_is_closed_before_it_opens():
    assert await asked("websocket", "/health-and-more") == [{"type": "websocket.close", "code": 1008}]
